"""The command `rehearse`: the rehearsal provider in the foreground."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Annotated

from cyclopts import Group, Parameter

from docsluice.cli.output import WrongArguments
from docsluice.cli.page import command
from docsluice_local.foreground import Port, ended_by_signal, faults_told
from docsluice_local.rehearsal.characters.loading import all_characters, load_character
from docsluice_local.rehearsal.faults import fault_named
from docsluice_local.rehearsal.provider import rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings

_LIST = "list"
_PLAYED = Group("What is played", sort_key=1)


def _rehearse(
    *,
    character: Annotated[str | None, Parameter(metavar="NAME", group=_PLAYED, show_default="none")] = None,
    fault_rate: Annotated[tuple[str, ...], Parameter(metavar="FAULT=SHARE", group=_PLAYED, show_default="none")] = (),
    settings: RehearsalSettings = RehearsalSettings(),
    host: Annotated[str, Parameter(metavar="ADDRESS", group=_PLAYED)] = "127.0.0.1",
    port: Annotated[Port, Parameter(group=_PLAYED)] = 8081,
) -> int:
    """Serve an OpenAI-compatible provider to rehearse with: seeded latency, enforced limits, faults.

    $ docsluice rehearse --median-seconds 0.8 --sigma 0.7 --requests-per-minute 600
    $ docsluice rehearse --character groq --fault-rate 503=0.01
    $ docsluice rehearse --character list

    A document can ask for a fault itself: [[rehearse:500x2]].

    Args:
        character: answer as this provider does (`list` shows which there are)
        fault_rate: share of the calls that fail so, as 429=0.01 (a fault, or a kind of error of the character)
        host: where to listen
        port: where to listen (0 takes a free one)
    """
    if character == _LIST:
        print("\n".join(f"{each.name:<12}{each.summary}" for each in all_characters()))
        return 0
    asked = settings_of(settings, character=character, fault_rate=fault_rate)
    with faults_told(address=f"{host}:{port}"):
        asyncio.run(_serve(asked, host=host, port=port))
    return 0


def settings_of(
    settings: RehearsalSettings, *, character: str | None, fault_rate: tuple[str, ...]
) -> RehearsalSettings:
    """The settings with a character and faults that are named.

    Raises:
        WrongArguments: no fault or character has this name, or shares come to more than 1.
    """
    try:
        played = load_character(character) if character else None
        rates = {fault_named(name, played): share for name, share in map(_fault_and_share, fault_rate)}
        return replace(settings, character=played, fault_rates=rates)
    except ValueError as problem:
        raise WrongArguments(str(problem)) from None


def _fault_and_share(written: str) -> tuple[str, float]:
    """Read `503=0.01`.

    Raises:
        ValueError: it is written otherwise, or the share is none.
    """
    name, _, number = written.partition("=")
    with contextlib.suppress(ValueError):
        if 0 <= (share := float(number)) <= 1:
            return name, share
    raise ValueError("--fault-rate: must be FAULT=SHARE such as 503=0.01, with a share from 0 to 1")


async def _serve(settings: RehearsalSettings, *, host: str, port: int) -> None:
    ended = ended_by_signal()
    async with rehearsal_provider(settings, host=host, port=port) as provider:
        played = f", as {settings.character.title}" if settings.character else ""
        print(f"rehearsal provider ready: {provider.base_url}{played}", flush=True)
        await ended.wait()


rehearse = command(_rehearse, name="rehearse")
