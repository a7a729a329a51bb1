"""Runs the trials in order, and makes a finding of each."""

from collections.abc import Callable

from orchestrator.invoker import TargetConfig
from orchestrator.invoker.channels import Channels
from orchestrator.invoker.descriptors import load
from orchestrator.ports.clock import Clock
from orchestrator.proving.case import Bench
from orchestrator.proving.rules import RULES, Finding, Report, Verdict
from orchestrator.proving.subject import Asked, Subject
from orchestrator.proving.trials import TRIALS, Breach, Trial, Undecided

OnProgress = Callable[[str, int, int], None]
"""The rule that is tried now, how many are done, how many there are."""


async def prove(
    target: TargetConfig,
    asked: Asked,
    clock: Clock,
    *,
    timeout_s: float,
    parallel: int,
    on_progress: OnProgress | None = None,
) -> Report:
    """Try every rule on a service.

    Raises:
        ConfigError: the target's address or files cannot be right.
        TargetUnreachable: it does not answer, or does not describe its methods.
        Unfit: what was asked for does not fit its methods, or the probe fails.
    """
    channels = Channels({target.name: target})
    channel = channels.get(target.name)
    assert channel is not None
    try:
        subject = Subject(asked, await load(channel.raw, target))
        bench = Bench(subject=subject, channel=channel, clock=clock, timeout_s=timeout_s, parallel=parallel)
        return await _try_all(bench, on_progress or (lambda *_: None))
    finally:
        await channels.close()


async def _try_all(bench: Bench, on_progress: OnProgress) -> Report:
    run = bench.clock.new_uid().hex[-8:]  # the luck of it: it begins with the time
    findings: dict[str, Finding] = {}
    blocked: dict[str, str] = {}
    """Rules on which nothing can be built, with the broken one that is the reason."""
    control = Trial(bench=bench, run=run, number=0)
    left = 0
    for number, (name, rule) in enumerate(RULES.items()):
        on_progress(name, number, len(RULES))
        causes = [blocked[one] for one in rule.presupposes if one in blocked]
        if causes:
            blocked[name] = causes[0]
            why = f"it would prove nothing while `{causes[0]}` is broken"
            findings[name] = Finding(rule=name, verdict=Verdict.NOT_JUDGED, why=why)
            continue
        trial = Trial(bench=bench, run=run, number=number, is_telling=control.is_telling, took_s=control.took_s)
        try:
            findings[name] = await _judge(name, trial)
        finally:  # also where the probe fails, which ends it all
            left += sum([not await case.close() for case in trial.cases])
        if findings[name].verdict is Verdict.BROKEN:
            blocked[name] = name
        if number == 0:
            control = trial
    return Report(findings=tuple(findings.values()), left=left)


async def _judge(name: str, trial: Trial) -> Finding:
    verdict, why = Verdict.HOLDS, ""
    try:
        await TRIALS[name](trial)
    except Breach as breach:
        verdict, why = Verdict.BROKEN, str(breach)
    except Undecided as undecided:
        verdict, why = Verdict.NOT_JUDGED, str(undecided)
    return Finding(rule=name, verdict=verdict, why=why, evidence=tuple(trial.evidence))
