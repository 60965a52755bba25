"""`python -m consumer`, as it was called before. `python -m docsluice_consumer` is what is installed."""

import sys

from docsluice_consumer.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
