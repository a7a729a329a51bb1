"""Revisions: checked, kept, activated, compiled from what was pinned."""

import asyncio
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.definition import compile as compiling
from orchestrator.definition import revisions as under_test
from orchestrator.definition.diagnostics import Severity
from orchestrator.definition.pinning import canonical
from orchestrator.errors import NotFound, PlanMissing
from orchestrator.ids import StepId
from orchestrator.limits import DESCRIPTORS_BYTES_MAX
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.methods import MethodFacts, TargetFacts
from orchestrator.ports.plans import Plans
from orchestrator.saga.plan import StepKind, Trigger, TriggerRule, UndoOrder
from tests.unit.definition.desk import Desk
from tests.unit.definition.probe import CANCEL, ORDER, PLACE, payload, source
from tests.unit.definition.shop import as_set, shop_file

DEMO = Path(__file__).parents[3] / "compose" / "definitions" / "epro_intake.yaml"


def test_revisions_are_plans(desk: Desk) -> None:
    plans: Plans = desk.revisions
    assert plans is desk.revisions


async def test_the_demo_is_compiled_without_a_finding(desk: Desk) -> None:
    revision, found = await desk.revisions.create_revision(DEMO.read_text(encoding="utf-8"), DEMO.name)

    assert found == []
    assert revision is not None
    plan = await desk.revisions.plan("epro_intake")
    assert plan.revision == revision.revision
    assert plan.input_type == "epro.v1.Report"
    assert (plan.forward_s, plan.compensation_s) == (30.0, 30.0)
    assert {step.id: sorted(step.needs) for step in plan.steps.values()} == {
        "validate": [],
        "score": ["validate"],
        "archive": ["validate"],
        "adverse_event": ["score"],
        "notify": ["adverse_event", "score"],
    }
    assert plan.steps[StepId("validate")].kind is StepKind.READ
    assert plan.steps[StepId("notify")].optional
    assert plan.steps[StepId("notify")].compensation is None
    event = plan.steps[StepId("adverse_event")]
    assert (event.call.target, event.call.method) == ("safety", "epro.v1.Safety/OpenAdverseEvent")
    assert event.call.reply_type == "epro.v1.OpenAdverseEventResponse"
    assert event.compensation is not None
    assert event.compensation.call.retry.max_attempts == 0


async def test_a_revision_is_addressed_by_its_content(desk: Desk) -> None:
    one = await desk.keep(source())
    again = await desk.keep(source().replace("\n", "\r\n") + "\n\n")
    other = await desk.keep(source(description="another"))

    assert one.revision == again.revision
    assert one.revision != other.revision
    assert len(one.revision) == 13
    assert one.source == canonical(source())
    assert (one.created_at, one.active, other.active) == (1_000.0, True, False)
    assert [kept.revision for kept in await desk.revisions.revisions("probe")] == [other.revision, one.revision]


async def test_other_descriptors_give_another_revision(desk: Desk) -> None:
    one = await desk.keep(source())
    changed = shop_file()
    changed.message_type[1].field.add(name="more", number=99, type=9, label=1)
    desk.methods.sets["shop"] = as_set(changed)

    assert (await desk.keep(source())).revision != one.revision


async def test_what_a_definition_does_not_need_is_not_pinned(desk: Desk) -> None:
    one = await desk.keep(source())
    unrelated = shop_file("unrelated.proto")
    unrelated.package = "unrelated.v1"
    for message in unrelated.message_type:
        message.ClearField("field")
        message.ClearField("nested_type")
        message.ClearField("oneof_decl")
    unrelated.ClearField("service")
    desk.methods.sets["shop"] = as_set(shop_file(), unrelated)

    assert (await desk.keep(source())).revision == one.revision


async def test_comments_and_spelled_out_json_names_do_not_make_another_revision(desk: Desk) -> None:
    one = await desk.keep(source())
    chatty = shop_file()
    chatty.source_code_info.location.add(leading_comments="hello")
    for field in chatty.message_type[2].field:
        head, *rest = field.name.split("_")
        field.json_name = head + "".join(word.title() for word in rest)
    desk.methods.sets["shop"] = as_set(chatty)

    assert (await desk.keep(source())).revision == one.revision


async def test_two_targets_may_bring_the_same_file(desk: Desk) -> None:
    desk.methods.sets["twin"] = desk.methods.sets["shop"]
    steps: JsonValue = {
        "first": {"call": PLACE, "kind": "read"},
        "second": {"call": "twin/shop.v1.Shop/Place", "kind": "read"},
    }

    await desk.keep(source(targets=["shop", "twin"], steps=steps))


async def test_a_validated_revision_is_not_kept(desk: Desk) -> None:
    revision, found = await desk.revisions.create_revision(source(), "probe.yaml", validate_only=True)

    assert found == []
    assert revision is not None
    assert desk.catalogue.kept == []


async def test_a_revision_with_errors_is_not_kept_and_one_with_warnings_is(desk: Desk) -> None:
    wrong, errors = await desk.revisions.create_revision(source(targets=["shop", "nope"]), "probe.yaml")
    noisy, warnings = await desk.revisions.create_revision(source(targets=["shop", "archive"]), "probe.yaml")

    assert wrong is None
    assert [one.severity for one in errors] == [Severity.ERROR]
    assert noisy is not None
    assert [str(one) for one in warnings] == [
        "probe.yaml:3:17: warning[W603]: targets[1]: no step calls target `archive` (fix: remove it)"
    ]
    assert len(desk.catalogue.kept) == 1


async def test_every_target_is_asked_once_and_an_unknown_one_is_not(desk: Desk) -> None:
    await desk.revisions.create_revision(source(targets=["shop", "nope", "shop", "archive"]), "probe.yaml")

    assert sorted(desk.methods.asked) == ["archive", "shop"]


async def test_descriptors_past_the_limit_are_refused(desk: Desk) -> None:
    desk.methods.sets["shop"] = b"\0" * (DESCRIPTORS_BYTES_MAX + 1)

    _, found = await desk.revisions.create_revision(source(), "probe.yaml")

    assert "more than the 16777216 allowed" in str(found[0])


async def test_descriptors_that_miss_an_import_are_one_finding(desk: Desk) -> None:
    alone = shop_file()
    alone.dependency.append("nowhere.proto")
    desk.methods.sets["shop"] = as_set(alone)

    revision, found = await desk.revisions.create_revision(source(), "probe.yaml")

    assert revision is None
    assert [one.code.number for one in found] == ["E206"]


async def test_an_import_chain_is_pinned_in_order_and_a_circle_does_not_hang(desk: Desk) -> None:
    first, second, third = shop_file(), shop_file("b.proto"), shop_file("c.proto")
    for file in (second, third):
        for part in ("message_type", "service", "enum_type", "package", "dependency"):
            file.ClearField(part)
    first.dependency.append("b.proto")
    second.dependency.append("c.proto")
    desk.methods.sets["shop"] = as_set(first, second, third)
    await desk.keep(source())

    third.dependency.append("b.proto")
    desk.methods.sets["shop"] = as_set(first, second, third)
    _, found = await desk.revisions.create_revision(source(), "probe.yaml")
    assert [one.code.number for one in found] == ["E206"]


# --- the catalogue ---------------------------------------------------------------------------------------------------


async def test_the_active_revision_is_the_one_that_was_activated(desk: Desk) -> None:
    one = await desk.keep(source())
    other = await desk.keep(source(description="another"))

    assert (await desk.revisions.plan("probe")).revision == one.revision
    await desk.revisions.activate("probe", other.revision)
    assert (await desk.revisions.plan("probe")).revision == other.revision
    assert (await desk.revisions.plan("probe", one.revision)).revision == one.revision
    assert [kept.revision for kept in await desk.revisions.definitions()] == [other.revision]
    assert (await desk.revisions.get("probe")).active


async def test_what_is_not_in_the_catalogue_is_not_found(desk: Desk) -> None:
    await desk.keep(source())

    with pytest.raises(NotFound, match="definition 'prob' does not exist; did you mean probe"):
        await desk.revisions.plan("prob")
    with pytest.raises(NotFound, match="definition 'zzz' does not exist; create it first"):
        await desk.revisions.get("zzz")
    with pytest.raises(NotFound, match="revision 'probe/r0' does not exist"):
        await desk.revisions.plan("probe", "r0")
    with pytest.raises(NotFound) as caught:
        await desk.revisions.activate("probe", "r0")
    assert caught.value.reason == "REVISION_NOT_FOUND"


# --- plans -----------------------------------------------------------------------------------------------------------


async def test_a_plan_is_compiled_once_however_many_ask(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await desk.keep(source())
    compiled: list[str] = []
    original = compiling.compile_plan

    def counted(*arguments: object) -> object:
        compiled.append("one")
        return original(*arguments)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(under_test, "compile_plan", counted)
    fresh = desk.fresh()

    plans = await asyncio.gather(*(fresh.plan("probe", kept.revision) for _ in range(20)), fresh.plan("probe"))

    assert len(compiled) == 1
    assert all(plan is plans[0] for plan in plans)


async def test_a_stored_revision_is_compiled_from_its_own_descriptors(desk: Desk) -> None:
    kept = await desk.keep(source())
    desk.methods.sets = {}
    desk.methods.asked = []

    plan = await desk.fresh().plan("probe", kept.revision)

    assert plan.steps[StepId("first")].call.method == "shop.v1.Shop/Place"
    assert desk.methods.asked == []


async def test_what_the_operator_declares_is_read_when_a_plan_is_compiled(desk: Desk) -> None:
    steps: JsonValue = {
        "first": {"call": PLACE, "compensate": {"call": CANCEL, "first": True}},
        "second": {"call": PLACE, "after": ["first"], "compensate": {"call": CANCEL, "after": ["first"]}},
    }
    kept = await desk.keep(source(steps=steps))
    desk.methods.declared["shop"] = TargetFacts(
        name="shop",
        every=MethodFacts(idempotent=True, barrier=True),
        methods={"shop.v1.Shop/Cancel": MethodFacts(idempotent=False)},
    )

    before = (await desk.revisions.plan("probe")).steps[StepId("first")]
    first = (await desk.fresh().plan("probe")).steps[StepId("first")]
    second = (await desk.fresh().plan("probe")).steps[StepId("second")]

    assert not before.call.idempotent
    assert first.compensation is not None
    assert second.compensation is not None
    assert (first.call.idempotent, first.call.barrier) == (True, True)
    assert not first.compensation.call.idempotent
    assert (first.compensation.first, second.compensation.after) == (True, ("first",))
    assert (await desk.keep(source(steps=steps))).revision == kept.revision


async def test_defaults_are_filled_in_and_what_is_written_is_kept(desk: Desk) -> None:
    steps: JsonValue = {
        "a": {"call": PLACE, "kind": "read"},
        "b": {"call": PLACE, "compensate": {"call": CANCEL, "timeout": "1m", "retry": {"max_attempts": 7}}},
        "c": {
            "call": PLACE, "kind": "read", "timeout": "250ms", "after": ["a", "b"], "trigger": {"at_least": 1},
            "retry": {"max_attempts": "unlimited", "initial_backoff": "10s", "multiplier": 3},
        },
        "d": {"call": PLACE, "kind": "read", "after": ["a", "b"], "trigger": "one_done", "retry": {"max_backoff": "9s"}},  # noqa: E501  (one case a line)
    }  # fmt: skip
    await desk.keep(source(steps=steps, compensation={"order": "sequential"}, deadline={"forward": "1d"}))
    plan = await desk.revisions.plan("probe")
    a, b, c, d = plan.steps.values()

    assert (plan.forward_s, plan.compensation_s, plan.undo_order) == (86_400.0, 300.0, UndoOrder.SEQUENTIAL)
    assert (a.call.timeout_s, a.call.retry.max_attempts, a.call.retry.explicit) == (10.0, 5, False)
    assert b.compensation is not None
    undo = b.compensation.call
    assert (undo.timeout_s, undo.retry.max_attempts, undo.retry.max_backoff_s) == (60.0, 7, 60.0)
    assert (c.call.timeout_s, c.call.retry.max_attempts, c.call.retry.multiplier) == (0.25, 0, 3)
    assert (c.call.retry.initial_backoff_s, c.call.retry.max_backoff_s, c.call.retry.explicit) == (10.0, 10.0, True)
    assert c.trigger == Trigger(rule=TriggerRule.AT_LEAST, count=1)
    assert d.trigger == Trigger(rule=TriggerRule.ONE_DONE)
    assert (d.call.retry.initial_backoff_s, d.call.retry.max_backoff_s) == (0.1, 9.0)
    assert plan.attributes is None
    assert plan.output is None


@pytest.mark.parametrize(
    ("text", "descriptors", "why"),
    [
        ("saga: [", b"", "no longer compiles"),
        (source().replace("first", "not-a-step"), None, "no longer compiles"),
        (source(), b"\xff", "its descriptors are broken"),
        (source(), b"", "no longer compiles"),
    ],
)
async def test_a_stored_revision_that_does_not_compile_is_missing(
    desk: Desk, text: str, descriptors: bytes | None, why: str
) -> None:
    kept = await desk.keep(source())
    desk.catalogue.kept[0] = Revision(
        definition="probe",
        revision=kept.revision,
        source=text,
        descriptors=kept.descriptors if descriptors is None else descriptors,
        created_at=0.0,
    )

    with pytest.raises(PlanMissing, match=why):
        await desk.fresh().plan("probe", kept.revision)


async def test_the_plans_kept_are_bounded_and_the_oldest_asked_for_goes_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PLANS_MAX", 2)
    kept = [await desk.keep(source(description=str(number))) for number in range(3)]
    first = await desk.revisions.plan("probe", kept[0].revision)  # puts the second one aside
    order = payload(ORDER)

    assert desk.revisions.to_json(first, order) == {}
    third = await desk.revisions.plan("probe", kept[2].revision)
    assert desk.revisions.input(third, order) == order
    await desk.revisions.plan("probe", kept[1].revision)
    with pytest.raises(PlanMissing, match="ask for it again"):
        desk.revisions.to_json(first, order)
