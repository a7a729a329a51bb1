"""Why an append was not taken, in the same words from every store."""

from orchestrator.errors import Fenced, JournalUnavailable, OrchestratorError, VersionConflict
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Append
from orchestrator.ports.leases import Member


def refusal(append: Append, version: int, epoch: int) -> OrchestratorError:
    """Return the error for a stream that stands at `version`, last written under `epoch`."""
    if epoch > append.epoch:
        return Fenced(
            f"saga {append.saga_id!r} belongs to epoch {epoch} and was written by epoch {append.epoch}; nothing was "
            f"recorded, and this process must not write to it again",
            saga_id=append.saga_id,
            epoch=str(epoch),
        )
    return VersionConflict(
        f"saga {append.saga_id!r} is at version {version}, not {append.expected_version}; nothing was recorded, "
        f"read it again",
        saga_id=append.saga_id,
        version=str(version),
    )


def request_taken(append: Append, owner: SagaId) -> OrchestratorError:
    """Return the error for a new stream whose request id already started another saga."""
    return VersionConflict(
        f"request id {append.row.request_id!r} already started saga {owner!r}; saga {append.saga_id!r} was not "
        f"recorded",
        saga_id=owner,
        request_id=append.row.request_id,
    )


def not_ours(append: Append) -> OrchestratorError:
    """Return the error for a stream whose shard is not this process's under the append's epoch, or not any more."""
    return Fenced(
        f"saga {append.saga_id!r} lies in shard {append.row.shard}, which is not this member's under epoch "
        f"{append.epoch}; nothing was recorded, and this process must not write to it",
        saga_id=append.saga_id,
        shard=str(append.row.shard),
        epoch=str(append.epoch),
    )


def unknown_end(append: Append) -> OrchestratorError:
    """Return the error for a stream of which nobody here can learn any more whether it was written."""
    return JournalUnavailable(
        f"the store was away while saga {append.saga_id!r} was recorded, and another process may own it by now: it is "
        f"recorded or not; ask again with the same request id, or look at the saga",
        saga_id=append.saga_id,
    )


def put_off(append: Append, why: Exception) -> JournalUnavailable:
    """Return the error for a stream that the store refuses now and may take later, when it is given again, alone."""
    return JournalUnavailable(
        f"the store does not take what is appended to saga {append.saga_id!r} now ({why}); nothing was recorded, and "
        f"it is tried again until it is",
        saga_id=append.saga_id,
        is_put_off="true",
    )


def joined_before(member: Member) -> JournalUnavailable:
    """Return the error for a member that joins under the UUID of one that is there."""
    return JournalUnavailable(
        f"{member.name} has joined as {member.member} before, and nothing was changed: that lease stands as it was "
        f"given; join under a fresh UUID"
    )
