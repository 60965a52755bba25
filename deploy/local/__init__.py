"""The name that `docsluice_local` had. Beside this folder, imports and `python -m` by that name still work.

It is not installed. Its modules are those of `docsluice_local`, loaded once more under the old name.
"""

import docsluice_local

__path__ = list(docsluice_local.__path__)
