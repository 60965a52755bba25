"""What the exit codes mean. `--help` and docs/reference/producer.md say the same."""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """Each code that the program ends with."""

    DONE = 0
    FAULT = 1
    WRONG_USAGE = 2
    TIME_UP = 3
    INCOMPLETE = 3
    INTERRUPTED = 130
    TERMINATED = 143


_ON_SIGNALS = {
    Exit.INTERRUPTED: "Ctrl-C (SIGINT)",
    Exit.TERMINATED: "SIGTERM",
}
OF_SEND: Mapping[Exit, str] = {
    Exit.DONE: "every document is in the topic (with --dry-run: could be)",
    Exit.FAULT: "the broker was away or refused, or no consumer told its version",
    Exit.WRONG_USAGE: "wrong usage or settings",
    Exit.INCOMPLETE: "some rows or files were bad or not taken; every other document is in the topic",
    **_ON_SIGNALS,
}
OF_FOLLOW: Mapping[Exit, str] = {
    Exit.DONE: "N documents have ended, or all with --until-complete; without either: the time was up",
    Exit.FAULT: "the broker was away or refused, or the output could not be written",
    Exit.WRONG_USAGE: "wrong usage or settings",
    Exit.TIME_UP: "the time was up before N documents, or all, had ended",
    **_ON_SIGNALS,
}
OF_DEAD_LETTERS: Mapping[Exit, str] = {
    Exit.DONE: "done, or there was nothing to do",
    Exit.FAULT: "no such dead letter, a no to the question, some were not taken, another redrive or drop took over,"
    " the broker was away or refused, or the output could not be written",
    Exit.WRONG_USAGE: "wrong usage or settings; drop without a terminal and without --yes",
    **_ON_SIGNALS,
}
