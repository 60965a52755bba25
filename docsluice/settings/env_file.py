"""The `.env` beside the environment. Values are taken as they are written, and trusted if the file was named.

Nobody may have looked at a `.env` in the working folder. So if it names an address, no secret from elsewhere goes
there. `--env-file` says that it is meant.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from docsluice.validation.record_bytes import wide_encoding

NAME = ".env"
_MOST_BYTES = 1024 * 1024
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\}")
_BARE_REFERENCE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


class EnvFileProblem(Exception):
    """The file cannot be read. The message says which file and why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """The variables of a file. Names are in capital letters. Blank values are left out: they count as unset."""

    path: Path = Path(NAME)
    is_named: bool = False
    """Whether a person has named the file, and so trusts it."""
    values: Mapping[str, str] = field(default_factory=dict)

    def given(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables that the environment, which comes first, does not set."""
        set_there = {name.upper() for name, value in environment.items() if value.strip()}
        return {name: value for name, value in self.values.items() if name not in set_there}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Variables for where a secret goes, and variables that hold it.

    `keepers` name a place of the secret, such as a file, so its value is never in the `.env` itself.
    """

    addresses: tuple[str, ...]
    secrets: tuple[str, ...]
    keepers: tuple[str, ...] = ()


def read_env_file(named: Path | None, *, folder: Path = Path()) -> EnvFile:
    """Read the named file, else the `.env` of the folder, if there is one.

    Raises:
        EnvFileProblem: it cannot be read.
    """
    path = folder / NAME if named is None else named
    shown = NAME if named is None else str(named)
    try:
        if named is None and (not path.exists() or path.is_dir()):
            return EnvFile()
        if named is None and path.is_fifo():
            raise EnvFileProblem(f"{shown}: a named pipe, so it is no file of settings")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise EnvFileProblem(f"{shown}: larger than {_MOST_BYTES} bytes, so it is no file of settings")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise EnvFileProblem(f"{shown}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        wide = wide_encoding(content)
        raise EnvFileProblem(
            f"{shown}: in {wide}, as PowerShell's > writes; save it as UTF-8"
            if wide
            else f"{shown}: not valid UTF-8 at byte {error.start}"
        ) from None
    return EnvFile(path=Path(shown), is_named=named is not None, values=_values(text, shown))


def _values(text: str, shown: str) -> dict[str, str]:
    """The variables by name. References stay: a value could pull a secret of the environment into a public setting."""
    values = {}
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            raise EnvFileProblem(f"{shown}: line {line.original.line} is not NAME=value, or its quote is never closed")
        if line.key and line.value and line.value.strip():
            values[line.key.upper()] = line.value
    return values


def mixed(file: EnvFile, way: Way, *, given: Collection[str], set_elsewhere: Collection[str]) -> str | None:
    """A sentence if the file decides where somebody else's secret goes. None if not.

    `given` are the variables taken from the file, `set_elsewhere` those set elsewhere.
    """
    addresses = [name for name in way.addresses if name in given]
    foreign = [name for name in (*way.secrets, *way.keepers) if name in set_elsewhere]
    foreign += [name for name in way.keepers if name in given]
    if file.is_named or not addresses or not foreign:
        return None
    return f"{', '.join(addresses)}: {distrusted(file)}, and {', '.join(foreign)} would be sent there; {REMEDY}"


def distrusted(file: EnvFile) -> str:
    """How messages call a file that nobody has named."""
    return f"set by {file.path} in the working folder"


REMEDY = f"say --env-file {NAME} if that is meant, or set them in one place"


def references(given: Mapping[str, str], *, secrets: Collection[str]) -> list[str]:
    """A sentence for each value that refers to a variable, because references are not replaced.

    A secret counts only if it is nothing else: a password may contain such signs.
    """
    found = []
    for name, value in given.items():
        is_whole = _REFERENCE.fullmatch(value.strip()) or _BARE_REFERENCE.fullmatch(value.strip())
        if is_whole or (name not in secrets and _REFERENCE.search(value)):
            found.append(f"{name}: {NAME} files are taken as they are written, so ${{…}} stays; write the value itself")
    return found
