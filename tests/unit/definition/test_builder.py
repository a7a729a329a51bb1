"""Sagas written in Python: the same tree, the same findings, at the Python line."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from orchestrator.definition import SagaBuilder, cel, for_each, probe, retry, undo, until
from orchestrator.definition.builder import Built
from orchestrator.definition.durations import duration_text, seconds
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition, Step
from orchestrator.definition.revisions import Revisions
from orchestrator.definition.yaml import read
from orchestrator.errors import DefinitionInvalid
from orchestrator.limits import ITEMS_PARALLEL_MAX
from tests.unit.definition.probe import CANCEL, ORDER, PLACE, tree
from tests.unit.definition.world import DictCatalogue, FixedClock, FixedMethods, every_target

DEMO = Path(__file__).parents[3] / "compose" / "definitions" / "epro_intake.yaml"


def built_demo() -> Built:
    saga = SagaBuilder(
        "epro_intake",
        description="Take in one patient-reported outcome; alert the study nurse when the score is high.",
        input="epro.v1.Report",
        forward="30s",
        compensation=timedelta(seconds=30),
        targets=["validator", "scoring", "archive", "safety", "notifier"],
        attributes={"patient": cel("input.patient_id"), "site": cel("input.site")},
    )
    by_report = {"report_id": cel("input.report_id")}
    validate = saga.step(
        "validate",
        "validator/epro.v1.Validator/Validate",
        kind="read",
        request={"report": cel("input")},
        refuse="!reply.valid",
        reason=cel("reply.problems.join('; ')"),
        timeout=timedelta(seconds=2),
    )
    score = saga.step(
        "score", "scoring/epro.v1.Scoring/Score", after=[validate], kind="read", request={"report": cel("input")}
    )
    archive = saga.step(
        "archive",
        "archive/epro.v1.Archive/Store",
        after=["validate"],
        request={"report": cel("input")},
        compensate=undo("archive/epro.v1.Archive/Withdraw", request=by_report),
    )
    total = f"{score.reply}.total"
    event = saga.step(
        "adverse_event",
        "safety/epro.v1.Safety/OpenAdverseEvent",
        when=f"{total} >= 10 || {score.reply}.safety_flag",
        request={
            **by_report,
            "patient_id": cel("input.patient_id"),
            "site": cel("input.site"),
            "score": cel(total),
            "safety_flag": cel(f"{score.reply}.safety_flag"),
        },
        compensate=undo("safety/epro.v1.Safety/VoidAdverseEvent", request=by_report),
        retry=retry(max_attempts=5, initial_backoff="100ms", max_backoff=timedelta(seconds=5), multiplier=2),
    )
    notify = saga.step(
        "notify",
        "notifier/epro.v1.Notifier/SendAlert",
        after=[event],
        request={
            **by_report,
            "patient_id": cel("input.patient_id"),
            "text": f"PHQ-9 total {cel(total)} at site {cel('input.site')}",
        },
        compensate="none",
        optional=True,
    )
    saga.output({"score": cel(total), "record_id": cel(f"{archive.reply}.record_id"), "alerted": cel(notify.applied)})
    return saga.build()


def built_everything() -> Built:
    """Return a definition that has every key of the language."""
    saga = SagaBuilder("everything", input=ORDER, targets=["shop", "jobs", "stock"], on_failure="ask", forward="2d")
    key = {"order_id": cel("input.order_id")}
    patient = retry(initial_backoff="1s")
    lines = saga.step(
        "lines",
        PLACE,
        request={"items": [cel("line")]},
        for_each=for_each(cel("input.items"), item="line", parallel=4, tolerate=1),
        compensate=undo(CANCEL, request={"order_id": cel("line.sku"), "reason": cel("string(index)")}),
        probe=probe(PLACE, request=key, applied="reply.ok", reply=cel("reply"), timeout="3s", retry=patient),
    )
    look = saga.step("look", PLACE, kind="read", until=until("reply.ok", every="1s", at_most=timedelta(minutes=1)))
    run = saga.step("run", "jobs/jobs.v1.Jobs/Begin", kind="read", response="jobs.v1.Result", poll="2s", after=[look])
    nap = saga.sleep("nap", timedelta(minutes=10), after=[run], when=f"{lines.failed_count} == 0", optional=True)
    word = saga.wait("word", "word", type="json", timeout="1d", after=[nap, look], trigger="all_done")
    part = saga.scope("part", on_failure="retry", timeout="1h", after=[lines])
    inner = part.step("inner", PLACE, kind="read")
    part.scope("deep").sleep("deepest", cel("input.count"), after=[inner])
    saga.otherwise(part).step("instead", PLACE, compensate="none", when=f"{inner.applied} || {inner.status} == ''")
    trip = saga.child("trip", "child", input=key, compensate="undo", after=[part, word])
    trips = saga.child("trips", "child", compensate="none", for_each=for_each(cel(lines.replies)), input=key)
    pay = saga.step("pay", PLACE, kind="pivot", after=[trip, trips])
    saga.step("ship", "stock/stock.v1.Stock/Announce", kind="retriable", after=[pay])
    saga.output({"count": cel(lines.applied_count)})
    return saga.build()


async def test_every_key_in_python_and_in_yaml_is_one_tree() -> None:
    built = built_everything()

    assert read_back(built.source) == built.definition
    revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())
    child = Definition.model_validate({**tree(), "saga": "child"})
    await revisions.create_revision(to_yaml(child), "child.yaml")
    revision, found = await revisions.create_from(built.definition, built.origins, built.source)
    assert [str(one) for one in found] == []
    assert revision is not None
    fresh, _ = await revisions.create_revision(built.source, "saga.yaml")
    assert fresh is not None
    assert fresh.revision == revision.revision


def test_every_key_is_written_by_the_builder() -> None:
    source = built_everything().source
    keys = {field.alias or name for name, field in Step.model_fields.items()} - {"refuse", "reason"}

    assert {key for key in keys if f" {key}:" not in source} == set()


def test_findings_inside_scopes_point_at_the_python_line() -> None:
    saga = SagaBuilder("probe", input=ORDER, targets=["shop"])
    part = saga.scope("part")  # here is the scope
    part.step("inner", PLACE, kind="read", request={"oder_id": "x"})  # here is the inner step
    other = saga.otherwise(part)
    back = probe("shop/shop.v1.Shop/Find", applied="reply.ok")  # here is the probe
    other.step("instead", PLACE, compensate="none", probe=back)
    other.sleep("inner", "1s")  # here is the second inner step
    built = saga.build()
    revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())

    _, found = asyncio.run(revisions.create_from(built.definition, built.origins, built.source))

    assert [(one.code.number, one.step, one.place.line) for one in found] == [
        ("E501", "inner", line_of("# here is the inner step")),
        ("E203", "instead", line_of("# here is the probe")),
        ("E002", "inner", line_of("# here is the second inner step")),
    ]


def read_back(source: str) -> Definition:
    document, diagnostics = read(source, "saga.yaml")
    assert document is not None, diagnostics
    return Definition.model_validate(document.root)


def test_the_demo_in_python_and_in_yaml_is_one_tree() -> None:
    assert built_demo().definition == read_back(DEMO.read_text(encoding="utf-8"))


def test_what_is_built_is_kept_as_yaml_of_the_same_tree() -> None:
    built = built_demo()

    assert read_back(built.source) == built.definition


async def test_what_is_built_runs_like_what_is_read() -> None:
    built = built_demo()
    revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())

    revision, found = await revisions.create_from(built.definition, built.origins, built.source)

    assert found == []
    assert revision is not None
    assert (await revisions.plan("epro_intake")).revision == revision.revision
    fresh, _ = await revisions.create_revision(built.source, "saga.yaml")
    assert fresh is not None
    assert fresh.revision == revision.revision


def line_of(needle: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if needle in line)


def test_findings_point_at_the_python_line() -> None:
    saga = SagaBuilder("probe", input="shop.v1.Order", targets=["shop", "archive"])  # here is the definition
    first = saga.step("first", PLACE, request={"oder_id": "x"}, kind="read")  # here is the first step
    assert first.skipped == "steps.first.skipped"
    again = retry(initial_backoff="2s", max_backoff="1s")  # here is the retry
    back = undo(CANCEL, request={"order_id": cel("steps.nope.reply")}, retry=again)  # here is the undo
    saga.step("second", PLACE, after=[first], compensate=back, retry=again)
    saga.output({"x": cel("nope")})  # here is the output
    built = saga.build()
    revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())

    _, found = asyncio.run(revisions.create_from(built.definition, built.origins, built.source))

    assert [(one.code.number, one.place.line) for one in found] == [
        ("W603", line_of("# here is the definition")),
        ("E501", line_of("# here is the first step")),
        ("E104", line_of("# here is the retry")),
        ("E104", line_of("# here is the retry")),
        ("E301", line_of("# here is the undo")),
        ("E402", line_of("# here is the output")),
    ]
    assert {one.place.file for one in found} == {__file__}


def test_wrong_shapes_are_told_all_at_once() -> None:
    saga = SagaBuilder("Probe", input="json", targets=[], undo_order="sequential")
    saga.step("a", PLACE, trigger=0, timeout="soon")
    saga.step("a", PLACE, kind="reed")  # type: ignore[arg-type]  # on purpose

    with pytest.raises(DefinitionInvalid) as caught:
        saga.build()

    assert [line.split("error", 1)[1] for line in caught.value.findings] == [
        "[E104]: saga: a saga's name is 1 to 63 characters out of a-z 0-9 _ and starts with a letter",
        "[E002]: steps.a: step `a` is added twice (fix: rename one of them)",
        "[E104]: steps.a.kind: `reed` is not known here (fix: did you mean read?)",
    ]


def test_a_tree_holds_json_values_only() -> None:
    saga = SagaBuilder("probe", input="json", targets=["shop"], attributes={"a": object()})  # type: ignore[dict-item]
    odd: dict[str, JsonValue] = {"list": [1, {"y": object()}], "dict": {"z": object()}}  # type: ignore[dict-item]
    saga.step("request", PLACE, kind="read", request=odd)
    saga.output({"output": object()})  # type: ignore[dict-item]  # on purpose

    with pytest.raises(DefinitionInvalid) as caught:
        saga.build()

    why = "a tree holds texts, numbers, booleans, lists and mappings only"
    assert [line.split("error", 1)[1] for line in caught.value.findings] == [
        f"[E103]: attributes.a: {why}",
        f"[E103]: steps.request.request.list[1].y: {why}",
        f"[E103]: steps.request.request.dict.z: {why}",
        f"[E103]: output.output: {why}",
    ]


# --- text -------------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


_ID = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
_TREE = st.dictionaries(st.text(max_size=8), _JSON, max_size=3)
_LASTING = st.sampled_from(["250ms", "2s", "1.5s", "36h"])
_TEXT = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
_Drawn = dict[str, st.SearchStrategy[Any]]
_AROUND: _Drawn = {
    "after": st.lists(_ID, max_size=2),
    "when": _TEXT,
    "trigger": st.sampled_from(["all_done", "one_success"]) | st.fixed_dictionaries({"at_least": st.integers(1, 5)}),
    "optional": st.booleans(),
}
_MANY: _Drawn = {
    "for_each": _TEXT,
    "as": _ID,
    "parallel": st.integers(1, ITEMS_PARALLEL_MAX),
    "tolerate": st.integers(0, 9),
}
_PROBE = st.fixed_dictionaries({"call": _TEXT, "applied": _TEXT}, optional={"request": _TREE, "reply": _TREE})
_CALLS = st.fixed_dictionaries(
    {"call": _TEXT},
    optional={
        **_AROUND,
        **_MANY,
        "request": _TREE,
        "kind": st.sampled_from(["compensatable", "pivot", "retriable", "read"]),
        "compensate": st.just("none") | st.fixed_dictionaries({"call": _TEXT}, optional={"request": _TREE}),
        "probe": _PROBE,
        "until": _TEXT,
        "every": _LASTING,
        "at_most": _LASTING,
        "poll": _LASTING,
        "response": _TEXT,
    },
)
_WAIT: _Drawn = {"wait": st.fixed_dictionaries({"signal": _ID, "type": _TEXT}, optional={"timeout": _LASTING})}
_LEAVES: st.SearchStrategy[Any] = (
    _CALLS
    | st.fixed_dictionaries({"sleep": _LASTING | st.just("${input.count}")}, optional=_AROUND)
    | st.fixed_dictionaries(_WAIT)
    | st.fixed_dictionaries({"saga": _TEXT}, optional={**_MANY, "input": _TREE, "compensate": st.just("undo")})
)


def _scopes(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = st.dictionaries(_ID, inner, min_size=1, max_size=2)
    about: _Drawn = {"on_failure": st.sampled_from(["compensate", "retry", "ask"]), "timeout": _LASTING}
    scope = st.fixed_dictionaries({"steps": steps}, optional=about)
    return st.fixed_dictionaries({"scope": scope}, optional={**_AROUND, "else": steps})


_STEPS = st.dictionaries(_ID, st.recursive(_LEAVES, _scopes, max_leaves=5), min_size=1, max_size=3)


@given(_STEPS, _TREE, st.text(max_size=30))
def test_every_tree_is_read_back_as_it_was_written(
    steps: dict[str, JsonValue], output: dict[str, JsonValue], description: str
) -> None:
    definition = Definition.model_validate(tree(steps=steps, description=description, output=output))

    text = to_yaml(definition)

    assert read_back(text) == definition
    assert text.isprintable() or "\n" in text


@pytest.mark.parametrize("text", ["250ms", "2s", "5m", "1h", "1d", "1.5s", "90s", "36h", "0.25ms"])
def test_a_duration_is_written_as_the_same_duration(text: str) -> None:
    assert seconds(duration_text(seconds(text))) == seconds(text)


@given(st.integers(1, 10**12))
def test_every_whole_microsecond_survives(micros: int) -> None:
    value = round(micros / 1e6, 9)
    assert seconds(duration_text(value)) == value


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "1w", "1s2ms", "1e3s", "\u0661s", "s", "5S"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration is a number and a unit"):
        seconds(text)


def test_a_duration_is_never_a_bare_number() -> None:
    with pytest.raises(ValidationError, match="a duration is a number and a unit"):
        Definition.model_validate(tree(deadline={"forward": 5}))
