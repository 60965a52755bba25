"""The pipeline version that the consumers run now, from their metrics."""

import asyncio
from collections.abc import Sequence

from docsluice.kafka.passing import Say
from docsluice_producer.errors import VersionUnknown, WrongUsage
from docsluice_producer.metrics.metrics_poller import ask, asking, named
from docsluice_producer.metrics.sample import Sample

_WAYS = (
    "say --pipeline-version V (docsluice check shows it), or --metrics-url URL of a consumer that runs,"
    " or set DOCSLUICE_HTTP_PORT to the port of one on this machine"
)


def metrics_urls(port: int, *, given: Sequence[str] | None) -> tuple[str, ...]:
    """The consumers to ask: those that were named, or else the one at this port of this machine.

    Raises:
        WrongUsage: its port is unknown.
    """
    if given:
        return tuple(dict.fromkeys(given))
    if port == 0:
        raise WrongUsage(f"at DOCSLUICE_HTTP_PORT={port} no consumer can be asked for its pipeline version: {_WAYS}")
    return (f"http://localhost:{port}/metrics",)


async def running_version(urls: Sequence[str], *, say: Say) -> str:
    """The version that all answering consumers name. Those that do not answer are reported.

    Raises:
        VersionUnknown: none names one, or they name several.
    """
    async with asking() as session:
        answers = await asyncio.gather(*(ask(session, url) for url in urls))
    who_runs: dict[str, str] = {}
    problems = []
    for url, answer in zip(urls, answers, strict=True):
        if isinstance(answer, Sample) and answer.pipeline_version:
            who_runs.setdefault(answer.pipeline_version, named(url))
        else:
            problems.append(answer if isinstance(answer, str) else f"{named(url)} names no pipeline version")
    if not who_runs:
        raise VersionUnknown(f"the pipeline version of the consumers is not known: {'; '.join(problems)}: {_WAYS}")
    if len(who_runs) > 1:
        runs = ", ".join(f"{who} runs {version}" for version, who in who_runs.items())
        raise VersionUnknown(f"consumers of several pipeline versions: {runs}: say --pipeline-version V, or wait")
    for problem in problems:
        say(f"{problem}: not counted")
    ((version, who),) = who_runs.items()
    say(f"pipeline version {version}, which {who} runs")
    return version
