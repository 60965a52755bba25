"""The older name `python -m producer`. `python -m docsluice_producer` is what is installed."""

import sys

from docsluice_producer.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
