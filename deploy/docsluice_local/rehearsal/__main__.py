"""`python -m docsluice_local.rehearsal`: the older name of `docsluice rehearse`."""

import sys

from docsluice.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["rehearse", *sys.argv[1:]]))
