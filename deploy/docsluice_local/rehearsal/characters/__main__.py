"""`python -m docsluice_local.rehearsal.characters > docs/reference/providers.md` writes the page again."""

import sys

from docsluice_local.rehearsal.characters.loading import all_characters
from docsluice_local.rehearsal.characters.page import page

if __name__ == "__main__":
    sys.stdout.write(page(all_characters()))
