"""`python -m docsluice.cli` is `docsluice`."""

import sys

from docsluice.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
