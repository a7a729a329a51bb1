"""`saga debug`: what a live process has going on, for somebody who looks for what is wrong with it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Failure
from orchestrator.cli.output import columns, duration, echo, instant, seconds_of, tame
from orchestrator.cli.profiling import profile
from orchestrator.cli.session import ExitCode, Session, connected, explain
from orchestrator.limits import CLI_CALL_S, DUMP_LIMIT_MAX, DUMP_LIMIT_SHOWN

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from orchestrator.v1.diagnostics_service_pb2 import CallDump, DumpProcessResponse

PARTS = ("suspects", "stalls", "actors", "calls", "tasks", "threads")
"""Of a dump, in the order in which they are shown; each is a field of the answer."""

_STUCK = (
    "if it does not answer at all, `kill -USR2 PID` has it write the stack of every thread to its standard error, even"
    " where its event loop is stuck"
)


def _parts(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    """Give a command a flag for each part of a dump, and those that were given as `parts`."""
    for part in reversed(PARTS):
        option = click.option(f"--{part}", "parts", flag_value=part, multiple=True, help=f"Show {part} only.")
        command = option(command)
    return command


@click.group()
def debug() -> None:
    """Look into a live process: what it has going on, and where its time goes.

    Whichever process is asked answers for itself alone. It is looked at, and not changed; sagas go on meanwhile.
    """


debug.add_command(profile)


@debug.command()
@click.option(
    "--limit",
    type=click.IntRange(1, DUMP_LIMIT_MAX),
    default=DUMP_LIMIT_SHOWN,
    show_default=True,
    metavar="N",
    help="Of each list at most so many, the oldest and fullest first.",
)
@_parts
@click.option("--objects", is_flag=True, help="Count objects by type, too, which stops the process for a while.")
@connected
def dump(session: Session, *, limit: int, parts: Sequence[str], objects: bool) -> None:
    """Show what the process has going on, what is wrong first.

    Suspects are what lies about longer, or in greater number, than it should. Then come the latest times at which the
    event loop was held up, the sagas in memory, open calls, asyncio tasks by where they stand, and threads. With one or
    more of the flags only those parts are shown.
    """
    import grpc

    from orchestrator.v1.diagnostics_service_pb2 import DumpProcessRequest

    try:
        found = session.diagnostics.DumpProcess(DumpProcessRequest(limit=limit, objects=objects), timeout=CLI_CALL_S)
    except grpc.RpcError as failed:
        told = explain(failed, session.server)
        raise Failure(f"{told.message}\n{_STUCK}", told.code) from failed
    for part in PARTS:
        if parts and part not in parts:
            found.ClearField(part)  # type: ignore[arg-type]  # the stubs want the name written out
    if not session.printer.is_table:
        session.printer.message(found)
        return
    for line in page(found, parts or PARTS):
        echo(line)


def page(found: "DumpProcessResponse", parts: Sequence[str] = PARTS) -> Iterator[str]:
    """Yield a dump line by line, for a person who reads from the top."""
    uptime_s = found.uptime.seconds + found.uptime.nanos / 1e9
    at = instant(found.as_of_time)
    yield f"{tame(found.process_name)}, version {tame(found.version)}, up {duration(uptime_s)}, at {at}"
    yield (
        f"sagas in memory {found.actor_count:,}, calls open {found.call_count:,}, timers {found.timer_count:,},"
        f" tasks {found.task_count:,}, stalls {found.stall_count:,}"
    )
    for part in PARTS:
        if part in parts:
            yield ""
            yield from _SHOWN[part](found)


def _suspects(found: "DumpProcessResponse") -> Iterator[str]:
    if not found.suspects:
        yield "nothing is suspect: no overdue call, no idle saga kept, no late timer, no append without an end"
        return
    rows = [(f"{each.count:,}", tame(each.kind), tame(each.name), tame(each.why)) for each in found.suspects]
    yield from columns(("suspects", "kind", "name", "why"), rows)


def _stalls(found: "DumpProcessResponse") -> Iterator[str]:
    if not found.stalls:
        yield "the event loop was not held up"
        return
    rows = [
        (
            f"{_age(found, each.time)} ago",
            duration(each.held.seconds + each.held.nanos / 1e9),
            tame(each.saga_id),
            tame(each.culprit),
        )
        for each in found.stalls
    ]
    yield from columns(("stalls", "held up", "saga", "by"), rows)


def _actors(found: "DumpProcessResponse") -> Iterator[str]:
    if not found.actors:
        yield "no saga is in memory"
        return
    if fullest := found.actors[0].mailbox:
        yield f"the fullest mailbox: {fullest:,} messages wait for saga {tame(found.actors[0].saga_id)}"
    rows = [
        (
            tame(each.saga_id),
            tame(each.doing),
            _age(found, each.since_time),
            str(each.mailbox),
            str(each.call_count),
            str(each.timer_count),
            _until(found, each.wake_time) if each.HasField("wake_time") else "",
            tame(each.status),
            str(each.version),
            tame(each.definition),
        )
        for each in found.actors
    ]
    header = ("saga", "doing", "for", "mail", "calls", "timers", "next", "status", "version", "definition")
    yield from columns(header, rows)
    yield from _rest(len(found.actors), found.actor_count)


def _calls(found: "DumpProcessResponse") -> Iterator[str]:
    if not found.calls:
        yield "no call is open"
        return
    counts = Counter(found.target_call_counts).most_common()
    yield "calls by target: " + ", ".join(f"{tame(target)} {count:,}" for target, count in counts)
    rows = [
        (
            tame(each.target),
            tame(each.phase),
            _age(found, each.begin_time),
            _until(found, each.deadline),
            tame(each.saga_id),
            f"{tame(each.step)} {_nth(each)}",
            tame(each.method),
        )
        for each in found.calls
    ]
    yield from columns(("target", "phase", "for", "deadline", "saga", "step", "method"), rows)
    yield from _rest(len(found.calls), found.call_count)


def _nth(call: "CallDump") -> str:
    kind = "" if call.operation == "forward" else f"{tame(call.operation)} "
    return f"({kind}attempt {call.attempt})"


def _tasks(found: "DumpProcessResponse") -> Iterator[str]:
    yield "tasks by where they stand, innermost last"
    for each in found.tasks:
        name = f" ({tame(each.name)})" if each.count == 1 else ""
        yield f"{each.count:>5,}  {tame(each.coroutine)}{name}"
        yield from (f"         {tame(line)}" for line in each.stack)
    yield from _rest(sum(each.count for each in found.tasks), found.task_count)


def _threads(found: "DumpProcessResponse") -> Iterator[str]:
    yield "threads, innermost last"
    for each in found.threads:
        yield f"  {tame(each.name)}"
        yield from (f"         {tame(line)}" for line in each.stack)


def _rest(shown: int, total: int) -> Iterator[str]:
    if shown < total:
        yield f"and {total - shown:,} more; see them with a larger --limit"


def _age(found: "DumpProcessResponse", since: "Timestamp") -> str:
    return duration(max(0.0, seconds_of(found.as_of_time) - seconds_of(since)))


def _until(found: "DumpProcessResponse", then: "Timestamp") -> str:
    left_s = seconds_of(then) - seconds_of(found.as_of_time)
    return f"in {duration(left_s)}" if left_s >= 0.0 else f"{duration(-left_s)} ago"


_SHOWN: dict[str, "Callable[[DumpProcessResponse], Iterator[str]]"] = {
    "suspects": _suspects,
    "stalls": _stalls,
    "actors": _actors,
    "calls": _calls,
    "tasks": _tasks,
    "threads": _threads,
}
