"""What may be raised at a caller, and who must act on it.

::

    OrchestratorError                  never raised itself
    |- RequestError                    the caller must change something; asking again changes nothing
    |  |- DefinitionInvalid            INVALID_ARGUMENT
    |  |- InputInvalid                 INVALID_ARGUMENT
    |  |- NotFound                     NOT_FOUND
    |  |- AlreadyExists                ALREADY_EXISTS
    |  `- Rejected                     FAILED_PRECONDITION
    |- BusyError                       the same request, later or elsewhere
    |  |- Overloaded                   RESOURCE_EXHAUSTED
    |  |- JournalUnavailable           UNAVAILABLE
    |  |- TargetUnreachable            UNAVAILABLE
    |  |- Draining                     UNAVAILABLE
    |  |- NotOwner                     UNAVAILABLE
    |  `- Pending                      UNAVAILABLE
    |- IntegrityError                  stop this saga and tell a person; code never asks again
    |  |- JournalCorrupted             DATA_LOSS
    |  |- PlanMissing                  DATA_LOSS
    |  |- InvariantViolated            INTERNAL
    |  `- ActorFailed                  INTERNAL
    |- ConfigError                     the operator must fix it before start; exit code 78
    `- VersionConflict, Fenced         private to the runtime: somebody else wrote this stream

A class exists only where somebody would catch it. A step whose call fails is *not* an error: it is a report, then an
outcome. `reason` is published (it is `ErrorInfo.reason` on the wire) and never renamed.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, Final


class Fault(StrEnum):
    """Who must act."""

    CALLER = "caller"
    SYSTEM = "system"
    OPERATOR = "operator"


class Retry(StrEnum):
    """Whether the same request may be sent again."""

    NEVER = "never"
    LATER = "later"
    ELSEWHERE = "elsewhere"


class OrchestratorError(Exception):
    """Everything this package raises on purpose. Any other exception is a bug: please report it."""

    reason: str = "INTERNAL"
    fault: ClassVar[Fault] = Fault.SYSTEM
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(self, message: str, **metadata: str) -> None:
        """Keep the sentence for a person and the facts for a program."""
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class RequestError(OrchestratorError):
    """The request cannot succeed as it is."""

    fault = Fault.CALLER


class DefinitionInvalid(RequestError):
    """A definition has errors; `findings` are rendered diagnostics, one line each, with file:line:column."""

    reason = "DEFINITION_INVALID"

    def __init__(self, message: str, findings: Sequence[str] = (), **metadata: str) -> None:
        """Keep every finding, so that an author can mend them all at once."""
        super().__init__(message, **metadata)
        self.findings = tuple(findings)


class InputInvalid(RequestError):
    """A field of the request is wrong; `path` names it, e.g. `input.items[2].value`."""

    reason = "INPUT_INVALID"

    def __init__(self, path: str, why: str, **metadata: str) -> None:
        """Name the field and say what is wrong with it."""
        super().__init__(f"{path}: {why}", **metadata)
        self.path = path
        self.why = why


class NotFound(RequestError):
    """The named thing does not exist; `reason` is `SAGA_NOT_FOUND`, `DEFINITION_NOT_FOUND` or `REVISION_NOT_FOUND`."""

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        """Say what was looked for, and where to look next."""
        super().__init__(f"{kind} {name!r} does not exist{'; ' + hint if hint else ''}", kind=kind, name=name)
        self.kind = kind
        self.name = name
        self.reason = f"{kind.upper()}_NOT_FOUND"


class AlreadyExists(RequestError):
    """Another saga has this id; nothing was changed."""

    reason = "SAGA_ALREADY_EXISTS"


REFUSALS: Final[Mapping[str, str]] = {
    "TERMINAL_STATE": "The saga has ended, and an ended saga is never changed. To do it over, start a new one.",
    "ETAG_MISMATCH": "The saga has changed since you looked at it. Look again, then decide.",
    "PAST_PIVOT": "The saga's pivot is applied: it can only succeed now, and is neither cancelled nor run again.",
    "PIVOT_UNDECIDED": "Nobody knows yet whether the saga's pivot is applied. Wait for its end, or resolve it.",
    "GOING_BACKWARD": "The saga is being undone as a whole. What is stuck can be retried, resolved or skipped.",
    "CALLS_IN_FLIGHT": "Calls are open whose end would be lost. Pause the saga, and ask again when they have ended.",
    "STEP_UNKNOWN": "The saga has no such step, or the item has not begun. The sentence names the steps there are.",
    "STEP_STATE": "The step is not in a state in which the verb makes sense, or the verb would guess. The sentence says"
    " which, and what to do instead; `saga explain` lists what would be taken.",
    "SIGNAL_UNKNOWN": "The saga's definition waits for no such signal. The sentence names those it knows.",
    "SIGNALS_FULL": "The saga has as many signals as it can keep.",
    "NOT_STARTED": "The start of the saga is not recorded yet. Ask again when it is answered.",
    "ALREADY_STARTED": "The saga has been started already.",
    "RESPONSE_TOO_LARGE": "The answer is larger than a message may be. Ask for a smaller view, or for less.",
    "PROFILE_UNAVAILABLE": "The process cannot be sampled; the sentence says why. Use a profiler from outside.",
}
"""Every reason of `Rejected`, with what it means and what to do."""


class Rejected(RequestError):
    """The saga's state does not allow the request; the reasons stand in a table of their own."""

    def __init__(self, reason: str, message: str, **metadata: str) -> None:
        """Name the rule and say what is true now."""
        super().__init__(message, **metadata)
        self.reason = reason


class BusyError(OrchestratorError):
    """Nothing is wrong with the request; this process cannot take it now."""

    retry = Retry.LATER


class Overloaded(BusyError):
    """A bound was reached; `retry_after_s` is a hint.

    `reason` is `MAILBOX_FULL`, `QUEUE_FULL`, `READER_TOO_SLOW`, `PROFILE_RUNNING` or `OBJECTS_COUNTED`.
    """

    def __init__(self, reason: str, message: str, retry_after_s: float) -> None:
        """Name the bound and say when to come back."""
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class JournalUnavailable(BusyError):
    """The journal cannot record; nothing is acknowledged until it can."""

    reason = "JOURNAL_UNAVAILABLE"


class TargetUnreachable(BusyError):
    """A called service did not tell its methods: it is down, or serves no reflection and has no descriptor file."""

    reason = "TARGET_UNREACHABLE"


class Draining(BusyError):
    """This process is finishing what it has and takes no new work."""

    reason = "DRAINING"
    retry = Retry.ELSEWHERE


class NotOwner(BusyError):
    """Another process owns the saga's shard, or nobody does yet; `owner` is its address among its peers, or empty."""

    reason = "NOT_OWNER"
    retry = Retry.ELSEWHERE

    def __init__(self, message: str, *, shard: int, owner: str = "") -> None:
        """Name the shard, and its owner where that is known."""
        super().__init__(message, shard=str(shard))
        self.shard = shard
        self.owner = owner


class Pending(BusyError):
    """The request is durable and will be done, but is not answered yet; the same request id again learns the answer."""

    reason = "REQUEST_PENDING"


class IntegrityError(OrchestratorError):
    """What is recorded cannot be trusted or understood; the saga is set aside for a person."""

    fault = Fault.OPERATOR


class JournalCorrupted(IntegrityError):
    """A record cannot be decoded, is unknown to this version, or does not follow from the one before it."""

    reason = "JOURNAL_CORRUPTED"


class PlanMissing(IntegrityError):
    """The revision a saga started with is not in the catalogue any more, or no longer compiles."""

    reason = "PLAN_MISSING"


class InvariantViolated(IntegrityError):
    """The machine contradicts itself; `number` is the rule's name, e.g. `M5`. This is a bug: please report it."""

    reason = "INVARIANT_VIOLATED"
    fault = Fault.SYSTEM

    def __init__(self, number: str, message: str, **metadata: str) -> None:
        """Name the invariant and the state that breaks it."""
        super().__init__(f"{number}: {message}", **metadata)
        self.number = number


class ActorFailed(IntegrityError):
    """The saga's actor failed, which is a bug: the log has it, please report it. After three times it is set aside."""

    reason = "ACTOR_FAILED"
    fault = Fault.SYSTEM


class ConfigError(OrchestratorError):
    """A setting, a file or a port prevents the start; the process exits with code 78 (EX_CONFIG)."""

    reason = "CONFIG_INVALID"
    fault = Fault.OPERATOR


class VersionConflict(OrchestratorError):
    """The stream is not at the expected version: another writer was here. Private to the runtime."""

    reason = "VERSION_CONFLICT"


class Fenced(OrchestratorError):
    """A later epoch owns the stream: stop without writing another byte. Private to the runtime."""

    reason = "FENCED"
