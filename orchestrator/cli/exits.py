"""How the `saga` program ends: published exit codes, and the one exception that carries one."""

from enum import IntEnum

import click


class Exit(IntEnum):
    """What a script may branch on. A code is never given another meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    COMPENSATED = 3
    NOT_FOUND = 4
    NEEDS_ATTENTION = 5
    TERMINATED = 6
    UNAVAILABLE = 69
    SOFTWARE = 70
    STORAGE = 74
    CONFIG = 78
    TIMEOUT = 124
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; with --wait or `wait`: the saga COMPLETED",
    Exit.FAILED: "the request was refused, a check found errors, the answer could not be written, or a bug",
    Exit.USAGE: "the command line is wrong",
    Exit.COMPENSATED: "the saga ended COMPENSATED: it failed or was cancelled, and nothing of it is left",
    Exit.NOT_FOUND: "the saga, definition or revision does not exist",
    Exit.NEEDS_ATTENTION: "the saga NEEDS_ATTENTION: it cannot go on without a person",
    Exit.TERMINATED: "the saga ended TERMINATED: a person ended it as it was",
    Exit.UNAVAILABLE: "no orchestrator answers, or it cannot record now (EX_UNAVAILABLE)",
    Exit.SOFTWARE: (
        "`serve` alone: the API's server, or the one for peers, stopped by itself, and the process left (EX_SOFTWARE)"
    ),
    Exit.STORAGE: "`serve` alone: the journal could record no more, and the process left (EX_IOERR)",
    Exit.CONFIG: "a setting is wrong, or a port or path cannot be used (EX_CONFIG)",
    Exit.TIMEOUT: "the time given with --timeout was up first",
    Exit.INTERRUPTED: "Ctrl-C",
}


class Failure(click.ClickException):
    """The command cannot go on; `message` says why and what to do next, in one sentence where one is enough."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        """Keep the sentence and the exit code."""
        super().__init__(message)
        self.code = code
