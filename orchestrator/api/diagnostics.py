"""`orchestrator.v1.DiagnosticsService`: one live process, asked about itself."""

import asyncio
from typing import TypeVar

import orchestrator
from orchestrator import limits
from orchestrator.api import caller
from orchestrator.api.caller import Context
from orchestrator.api.mapping import duration, instant
from orchestrator.errors import InputInvalid, Rejected
from orchestrator.ports import diagnostics as port
from orchestrator.ports.clock import Clock
from orchestrator.v1 import diagnostics_service_pb2 as rpc
from orchestrator.v1 import diagnostics_service_pb2_grpc as wire

_Answer = TypeVar("_Answer", rpc.GetFiguresResponse, rpc.DumpProcessResponse, rpc.ProfileProcessResponse)


class DiagnosticsService(wire.DiagnosticsServiceServicer):
    """What a process says of itself, on the wire."""

    def __init__(self, *, diagnostics: port.Diagnostics, clock: Clock) -> None:
        self._diagnostics = diagnostics
        self._clock = clock

    async def GetFigures(self, request: rpc.GetFiguresRequest, context: Context) -> rpc.GetFiguresResponse:
        if len(request.prefixes) > limits.FIGURE_PREFIXES_MAX:
            raise InputInvalid(
                "prefixes", f"{len(request.prefixes)} of them, and at most {limits.FIGURE_PREFIXES_MAX} are taken"
            )
        answer = rpc.GetFiguresResponse(
            as_of_time=instant(self._clock.now()),
            process_name=self._diagnostics.name,
            figures=[
                rpc.Figure(name=each.name, labels=each.labels, value=each.value)
                for each in self._diagnostics.figures(request.prefixes)
            ],
        )
        return _small(answer, "name prefixes of the figures that you want")

    async def DumpProcess(self, request: rpc.DumpProcessRequest, context: Context) -> rpc.DumpProcessResponse:
        if not 0 <= request.limit <= limits.DUMP_LIMIT_MAX:
            raise InputInvalid("limit", f"{request.limit} is not between 0 and {limits.DUMP_LIMIT_MAX}")
        dump = await self._diagnostics.dump(request.limit or limits.DUMP_LIMIT_DEFAULT, objects=request.objects)
        answer = rpc.DumpProcessResponse(
            as_of_time=instant(dump.at),
            process_name=self._diagnostics.name,
            version=orchestrator.__version__,
            uptime=duration(max(0.0, dump.at - self._diagnostics.begun_at)),
            actor_count=dump.actors_total,
            timer_count=dump.timers_total,
            call_count=dump.calls_total,
            target_call_counts=dump.calls_by_target,
            task_count=dump.tasks_total,
            threads=[rpc.ThreadDump(name=name, stack=stack) for name, stack in dump.threads.items()],
            stalls=[_stall(each) for each in dump.stalls],
            stall_count=dump.stalls_total,
            suspects=[
                rpc.Suspect(kind=each.kind, name=each.name, count=each.count, why=each.why) for each in dump.suspects
            ],
        )
        answer.actors.extend(map(_actor, dump.actors))
        await asyncio.sleep(0)  # one turn: the lists are long, and others have work to do
        answer.calls.extend(map(_call, dump.calls))
        await asyncio.sleep(0)  # one turn: the same
        answer.tasks.extend(
            rpc.TaskDump(name=each.name, coroutine=each.coroutine, stack=each.stack, count=each.count)
            for each in dump.tasks
        )
        return _small(answer, "ask with a smaller limit")

    async def ProfileProcess(self, request: rpc.ProfileProcessRequest, context: Context) -> rpc.ProfileProcessResponse:
        profile = await self._diagnostics.profile(_seconds(request, context), _hz(request))
        answer = rpc.ProfileProcessResponse(
            duration=duration(profile.seconds),
            hz=profile.hz,
            sample_count=profile.samples,
            idle_sample_count=profile.idle_samples,
            stacks=[rpc.ProfileStack(frames=frames, count=count) for frames, count in profile.stacks.items()],
        )
        return _small(answer, "ask for fewer seconds or samples")


def _seconds(request: rpc.ProfileProcessRequest, context: Context) -> float:
    seconds = limits.PROFILE_S_DEFAULT
    if request.HasField("duration"):
        seconds = request.duration.seconds + request.duration.nanos / 1e9
    if not 0.0 < seconds <= limits.PROFILE_S_MAX:
        raise InputInvalid("duration", f"{seconds:g} s is not above 0 and at most {limits.PROFILE_S_MAX:g} s")
    within_s = caller.answer_within_s(context)
    if within_s is not None and within_s <= seconds:
        raise InputInvalid("duration", f"{seconds:g} s is more than the call has left, which is {within_s:.1f} s")
    return seconds


def _hz(request: rpc.ProfileProcessRequest) -> float:
    if request.hz == 0:
        return limits.PROFILE_HZ_DEFAULT
    if not limits.PROFILE_HZ_MIN <= request.hz <= limits.PROFILE_HZ_MAX:
        bounds = f"{limits.PROFILE_HZ_MIN:g} and {limits.PROFILE_HZ_MAX:g}"
        raise InputInvalid("hz", f"{request.hz:g} is not between {bounds}; 0 takes {limits.PROFILE_HZ_DEFAULT:g}")
    return request.hz


def _actor(actor: port.ActorFacts) -> rpc.ActorDump:
    return rpc.ActorDump(
        saga_id=actor.saga_id,
        definition=actor.definition,
        status=actor.status,
        version=actor.version,
        shard=actor.shard,
        mailbox=actor.mailbox,
        doing=actor.doing,
        since_time=instant(actor.since_at),
        activate_time=instant(actor.activated_at),
        call_count=actor.calls,
        wake_time=None if actor.wake_at is None else instant(actor.wake_at),
        timer_count=actor.timers,
    )


def _call(call: port.CallFacts) -> rpc.CallDump:
    return rpc.CallDump(
        saga_id=call.saga_id,
        step=call.step,
        operation=call.operation,
        attempt=call.attempt,
        target=call.target,
        method=call.method,
        phase=call.phase,
        begin_time=instant(call.begun_at),
        deadline=instant(call.deadline_at),
    )


def _stall(stall: port.StallFacts) -> rpc.StallDump:
    return rpc.StallDump(
        time=instant(stall.at),
        held=duration(stall.held_s),
        culprit=stall.culprit,
        saga_id=stall.saga_id,
        stack=stall.stack,
    )


def _small(answer: _Answer, what_next: str) -> _Answer:
    """Return an answer that a message can hold; gRPC would drop a larger one without a word of what to do."""
    size = answer.ByteSize()
    if size > limits.API_MESSAGE_BYTES_MAX:
        raise Rejected(
            "RESPONSE_TOO_LARGE",
            f"the answer has {size} bytes, more than a message may have ({limits.API_MESSAGE_BYTES_MAX}); {what_next}",
        )
    return answer
