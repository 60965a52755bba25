"""Where the key of a provider comes from, and how another one is had."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from docsluice_consumer.errors import DocsluiceError, ProviderMisconfigured, ProviderUnavailable
from docsluice_consumer.llm.credentials import CommandKey, FileKey, NoKey, StaticKey

SECRET = "sk-verysecret"


async def test_a_server_that_wants_no_key() -> None:
    """There is none, and no other."""
    assert await NoKey().key() is None
    assert not await NoKey().refresh()


@pytest.mark.parametrize("written", [SECRET, f"{SECRET}\n", f"  {SECRET}\r\n"])
async def test_what_surrounds_a_key_is_passed_over(written: str) -> None:
    """Secrets that were made with `echo` end with a newline."""
    assert await StaticKey(written).key() == SECRET
    assert not await StaticKey(written).refresh()


@pytest.mark.parametrize(
    "written", [f"{SECRET}\n{SECRET}", f"{SECRET} {SECRET}", f"{SECRET}\x00", f"{SECRET}…", " \n", ""]
)
def test_what_no_header_takes_is_told_by_the_settings_name(written: str) -> None:
    """At the start, and without the key."""
    with pytest.raises(ProviderMisconfigured, match="OPENAI_API_KEY") as caught:
        StaticKey(written)
    assert SECRET not in str(caught.value)


def _write(path: Path, text: str, *, at: int) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    """By its time. While it is away or empty, the key is what it was."""
    path = tmp_path / "key"
    _write(path, "first\n", at=1000)
    file = FileKey(path)
    assert await file.key() == "first"
    _write(path, "other", at=1000)
    assert await file.key() == "first"
    _write(path, "second", at=2000)
    assert await file.key() == "second"
    _write(path, "", at=3000)
    assert await file.key() == "second"
    path.unlink()
    assert await file.key() == "second"


async def test_a_refused_key_is_looked_for_in_the_file(tmp_path: Path) -> None:
    """Also where its time has not changed."""
    path = tmp_path / "key"
    _write(path, "first", at=1000)
    file = FileKey(path)
    assert await file.key() == "first"
    assert not await file.refresh()
    _write(path, "second", at=1000)
    assert await file.refresh()
    assert await file.key() == "second"


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Setting and path are told."""
    with pytest.raises(ProviderMisconfigured, match=r"api_key_file .*/absent\): No such file or directory"):
        await FileKey(tmp_path / "absent").key()


def _counting(tmp_path: Path, *, ending: str = "") -> list[str]:
    """A command that prints how often it was run."""
    count = tmp_path / "count"
    code = (
        f"n = len(open({str(count)!r}, 'a+').write('x') and open({str(count)!r}).read()); print(f'key-{{n}}'); {ending}"
    )
    return [sys.executable, "-c", code]


class Clock:
    """A time that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_command_is_run_once(tmp_path: Path) -> None:
    """By one of many calls at once."""
    command = CommandKey(_counting(tmp_path))
    assert set(await asyncio.gather(*(command.key() for _ in range(5)))) == {"key-1"}
    assert await command.key() == "key-1"


async def test_a_refused_key_has_the_command_run_again_once(tmp_path: Path) -> None:
    """Many calls are refused at once, and where the new key is refused too, it is not run for each call."""
    clock = Clock()
    command = CommandKey(_counting(tmp_path), now=clock)
    assert await command.key() == "key-1"
    clock.now += 10.0
    assert await asyncio.gather(*(command.refresh() for _ in range(5))) == [True] * 5
    assert await command.key() == "key-2"
    assert not await command.refresh()
    assert await command.key() == "key-2"


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["/nowhere/at/all"], ProviderMisconfigured, "cannot run (api_key_command): No such file or directory"),
        ([], ProviderMisconfigured, "cannot run (api_key_command): it is empty"),
        ([sys.executable, "-c", ""], ProviderUnavailable, "printed nothing (api_key_command)"),
        (
            [sys.executable, "-c", f"import sys; print('{SECRET}', file=sys.stderr); print('{SECRET}'); sys.exit(3)"],
            ProviderUnavailable,
            "ended with 3 (api_key_command)",
        ),
        ([sys.executable, "-c", f"print('{SECRET} {SECRET}')"], ProviderMisconfigured, "(api_key_command)"),
    ],
)
async def test_a_command_that_gives_no_key(arguments: list[str], kind: type[DocsluiceError], words: str) -> None:
    """What is wrong is told, and nothing that it has printed."""
    with pytest.raises(kind) as caught:
        await CommandKey(arguments).key()
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_command_that_hangs_is_ended() -> None:
    """Nobody waits for it for ever, and it is not left behind."""
    command = CommandKey([sys.executable, "-c", "import time; time.sleep(3600)"], timeout_seconds=0.1)
    with pytest.raises(ProviderUnavailable, match=r"none within 0\.1 seconds"):
        await command.key()


async def test_a_key_is_kept_while_its_command_fails(tmp_path: Path) -> None:
    """The server that gives the keys may be away for a while."""
    clock = Clock()
    command = CommandKey(_counting(tmp_path, ending="import sys; sys.exit(n - 1)"), now=clock)
    assert await command.key() == "key-1"
    clock.now += 100.0
    assert not await command.refresh()
    assert await command.key() == "key-1"


async def test_a_command_may_be_one_line() -> None:
    """It is split as a shell would, and no shell sees it."""
    assert await CommandKey(f"{sys.executable} -c \"print('$HOME;x')\"").key() == "$HOME;x"


def test_a_command_with_an_open_quote_mark_names_its_setting() -> None:
    """And not its words, which may be a key."""
    with pytest.raises(ProviderMisconfigured) as caught:
        CommandKey(f"print '{SECRET}", setting="DOCSLUICE_OPENAI_API_KEY_COMMAND")
    assert "(DOCSLUICE_OPENAI_API_KEY_COMMAND): No closing quotation" in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_key_in_place_of_a_path_is_not_shown() -> None:
    """The setting is named without it."""
    with pytest.raises(ProviderMisconfigured) as caught:
        await FileKey(Path(SECRET), setting="DOCSLUICE_OPENAI_API_KEY_FILE").key()
    assert "DOCSLUICE_OPENAI_API_KEY_FILE" in str(caught.value)
    assert SECRET not in str(caught.value)
