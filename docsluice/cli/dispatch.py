"""Parses the arguments and calls the command: one parser for all programs, one way to end."""

from __future__ import annotations

import errno
import gc
import io
import os
import resource
import sys
from collections.abc import Collection, Sequence

from cyclopts import App, CycloptsError

from docsluice.cli.commands import COMMANDS, app_of
from docsluice.cli.output import PROGRAM, CommandFailed, WrongArguments, is_lost_output, say
from docsluice.cli.usage import names_of_commands, problem_of

_DONE, _FAULT, _WRONG_USAGE = 0, 1, 2
_NO_FILE = frozenset({errno.EMFILE, errno.ENFILE})
_ALL = tuple(command.name for command in COMMANDS)


def dispatch(argv: Sequence[str], *, program: str, commands: Collection[str] | None) -> int:
    """Run one command and return its exit code. Without `commands`, any of them.

    Raises:
        KeyboardInterrupt: Ctrl-C, of which nothing was said yet.
    """
    arguments = list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Documents are in every language, whatever this terminal's is.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    naming = PROGRAM.set(program)
    try:
        called = arguments[0] if arguments else None
        return _run(app_of(program, _ALL if commands is None else commands, called=called), arguments)
    except CommandFailed as failure:
        for line in failure.lines:
            say(line)
        return failure.exit_code
    except BaseException as error:
        from asyncio import CancelledError  # noqa: PLC0415 - it would be half of what a page of help waits for

        if isinstance(error, CancelledError):
            raise KeyboardInterrupt from None
        raise
    finally:
        PROGRAM.reset(naming)


def _run(app: App, arguments: list[str]) -> int:
    try:
        called, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise CommandFailed(_pointed(problem_of(error), error.command_chain), exit_code=_WRONG_USAGE) from None
    is_help = called == app.help_print
    if is_help and not {*app.help_flags} & {*arguments}:
        chain, apps, _ = app.parse_commands(arguments)
        raise CommandFailed(_pointed(names_of_commands(apps[-1]), chain), exit_code=_WRONG_USAGE)
    gc.freeze()  # what is loaded stays to the end, and the collector need not look at it
    gc.enable()
    try:
        code = called(*bound.args, **bound.kwargs)
        print(end="", flush=True)  # noqa: T201 - what is held back may find nobody, either
    except WrongArguments as wrong:
        raise CommandFailed(_pointed(str(wrong), app.parse_commands(arguments)[0]), exit_code=_WRONG_USAGE) from None
    except (BrokenPipeError, SystemExit):  # the latter is rich's word for it
        # The reader of our output has gone.
        _drop_output()
        return _DONE if is_help else _FAULT
    except OSError as error:
        if error.errno in _NO_FILE:  # a command that is loaded when it is called may not even find its own files
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            raise CommandFailed(f"too many open files (ulimit -n is {limit}): raise the limit") from None
        if not is_lost_output(error):
            raise
        _drop_output()
        raise CommandFailed(f"the output could not be written: {error.strerror}") from None
    return code if isinstance(code, int) else _DONE


def _drop_output() -> None:
    """Write what is left nowhere. At the end the interpreter would try once more, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pointed(problem: str, commands: Sequence[str] | None) -> str:
    """The problem, and where the right arguments are."""
    return f"{problem}; see {' '.join([PROGRAM.get(), *(commands or ())])} --help"
