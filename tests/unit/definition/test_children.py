"""Definitions that run each other: found in the catalogue or beside each other, pinned, and kept apart."""

import pytest
from pydantic import JsonValue

from orchestrator.definition.descriptors import pin, pinned
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition
from orchestrator.definition.pinning import canonical
from orchestrator.errors import PlanMissing
from orchestrator.ids import StepId
from orchestrator.limits import CHILDREN_DEPTH_MAX
from orchestrator.saga.plan import CHILD_TARGET
from orchestrator.values import Payload
from tests.unit.definition.desk import Desk
from tests.unit.definition.probe import CANCEL, ORDER, PLACE, as_json, payload, tree
from tests.unit.definition.world import FixedFacts

UNDO: dict[str, JsonValue] = {"saga": "child", "input": {"order_id": "${input.order_id}"}, "compensate": "undo"}


def text(name: str, **changes: JsonValue) -> str:
    return to_yaml(Definition.model_validate({**tree(**changes), "saga": name}))


def parent(**step: JsonValue) -> str:
    body: JsonValue = {"run": {**UNDO, **step}}
    return text("parent", targets=[], steps=body)


def child(**changes: JsonValue) -> str:
    output: JsonValue = {"receipt": "${steps.first.reply.receipt_id}"}
    return text("child", **{"output": output, **changes})


PIVOT: JsonValue = {"first": {"call": PLACE, "kind": "pivot"}}


async def test_a_child_is_called_like_a_service_that_keeps_keys_and_barrier(desk: Desk) -> None:
    kept = await desk.keep(child(deadline={"forward": "10s", "compensation": "5s"}))
    await desk.keep(parent())

    plan = await desk.revisions.plan("parent")

    run = plan.steps[StepId("run")]
    assert run.call.target == CHILD_TARGET
    assert run.call.method == f"child/{kept.revision}"
    assert (run.call.request_type, run.call.reply_type) == (ORDER, "google.protobuf.Struct")
    assert (run.call.idempotent, run.call.barrier, run.call.timeout_s) == (True, True, 15.0)
    assert run.call.retry.max_attempts == 0
    assert as_json(run.call.render(FixedFacts(payload(ORDER, order_id="o-1")))) == {"order_id": "o-1"}
    assert run.compensation is not None
    undo = run.compensation.call
    assert (undo.target, undo.method, undo.reply_type) == (CHILD_TARGET, run.call.method, "google.protobuf.Empty")
    assert undo.render(FixedFacts(payload(ORDER))) == Payload("google.protobuf.Empty", b"")


@pytest.mark.parametrize(
    ("output", "reply_type"),
    [
        ({"receipt": "${steps.first.reply.receipt_id}"}, "google.protobuf.Struct"),
        ("${steps.first.reply}", "shop.v1.Receipt"),
        (None, "google.protobuf.Empty"),
    ],
)
async def test_a_childs_reply_is_its_output(desk: Desk, output: JsonValue, reply_type: str) -> None:
    await desk.keep(child(output=output))
    await desk.keep(parent())

    assert (await desk.revisions.plan("parent")).steps[StepId("run")].call.reply_type == reply_type


async def test_a_child_of_json_takes_any_tree(desk: Desk) -> None:
    await desk.keep(child(input="json"))
    await desk.keep(parent(input={"anything": {"deep": "${input.order_id}"}}))

    plan = await desk.revisions.plan("parent")

    rendered = plan.steps[StepId("run")].call.render(FixedFacts(payload(ORDER, order_id="o-1")))
    assert as_json(rendered) == {"anything": {"deep": "o-1"}}


async def test_a_childs_input_is_checked_against_its_type(desk: Desk) -> None:
    await desk.keep(child())

    _, found = await desk.revisions.create_revision(parent(input={"oder_id": "x", "count": "three"}), "parent.yaml")

    assert [str(one).split("error", 1)[1] for one in found] == [
        "[E501]: steps.run.input.oder_id: shop.v1.Order has no field `oder_id` (fix: did you mean order_id?)",
        "[E502]: steps.run.input.count: int32 is needed, not the text `three`",
    ]


async def test_definitions_given_together_find_each_other_in_any_order(desk: Desk) -> None:
    created = await desk.revisions.create_together([("p", parent()), ("c", child())], validate_only=True)

    assert [found for _, found in created] == [[], []]
    assert [revision.definition for revision, _ in created if revision is not None] == ["parent", "child"]
    assert desk.catalogue.kept == []


async def test_what_is_given_together_goes_before_what_is_active(desk: Desk) -> None:
    old = await desk.keep(child())
    (kept, _), (new, _) = await desk.revisions.create_together([("p", parent()), ("c", child(description="new"))])

    assert kept is not None
    assert new is not None
    assert pinned(kept.descriptors) == {"child": new.revision}
    assert new.revision != old.revision


async def test_a_parent_is_another_revision_when_its_child_is(desk: Desk) -> None:
    await desk.keep(child())
    one = await desk.keep(parent())
    changed = await desk.keep(child(description="changed"))
    assert (await desk.keep(parent())).revision == one.revision  # what is not active is not run

    await desk.revisions.activate("child", changed.revision)
    other = await desk.keep(parent())

    assert one.revision != other.revision
    assert one.source == other.source == canonical(parent())
    plan = await desk.fresh().plan("parent", one.revision)
    assert plan.steps[StepId("run")].call.method == f"child/{pinned(one.descriptors)['child']}"


async def test_a_kept_parent_does_not_do_without_its_service_once_its_child_is_another(desk: Desk) -> None:
    own = text("parent", targets=["shop"], steps={"run": UNDO})
    shop = desk.methods.sets["shop"]
    (kept, _), (first, _) = await desk.revisions.create_together([("p", own), ("c", child())])
    new = await desk.keep(child(description="new"))
    assert kept is not None
    assert first is not None
    for active, expected in ((first, kept), (new, None)):
        await desk.revisions.activate(active.definition, active.revision)
        desk.methods.sets["shop"] = None
        ((again, _),) = await desk.fresh().create_together([("p", own)], may_be_known=True)
        assert (again and again.revision) == (expected and expected.revision)
        desk.methods.sets["shop"] = shop


async def test_a_kept_parent_whose_child_is_gone_is_missing(desk: Desk) -> None:
    await desk.keep(child())
    kept = await desk.keep(parent())
    desk.catalogue.kept = [one for one in desk.catalogue.kept if one.definition == "parent"]

    with pytest.raises(PlanMissing, match=r"runs revision r\w+ of definition child, which is not in the catalogue"):
        await desk.fresh().plan("parent", kept.revision)


async def test_a_child_with_a_pivot_cannot_be_undone(desk: Desk) -> None:
    await desk.keep(child(steps=PIVOT))

    _, found = await desk.revisions.create_revision(parent(), "parent.yaml")

    why = "`child` has a pivot: once it is past it, it cannot be undone (fix: write `compensate: none`)"
    assert [str(one).split("error", 1)[1] for one in found] == [f"[E314]: steps.run.compensate: {why}"]
    await desk.keep(parent(compensate="none"))


async def test_a_child_with_errors_is_told_at_its_parent(desk: Desk) -> None:
    broken = text("child", steps={"first": {"call": PLACE}})

    created = await desk.revisions.create_together([("p", parent()), ("c", broken)])

    assert [str(one).split("error", 1)[1] for one in created[0][1]] == [
        "[E208]: steps.run.saga: definition `child` has errors of its own (fix: mend them first)"
    ]
    assert created[0][0] is None


async def test_a_circle_is_told_with_the_way_round(desk: Desk) -> None:
    def runs(name: str, other: str) -> str:
        return text(name, targets=[], steps={"run": {"saga": other, "compensate": "none", "input": {}}})

    created = await desk.revisions.create_together(
        [("a", runs("a", "b")), ("b", runs("b", "c")), ("c", runs("c", "a"))]
    )

    assert [revision for revision, _ in created] == [None, None, None]
    told = {str(one).split("error", 1)[1] for _, found in created for one in found if one.code.number == "E209"}
    why = "these definitions run each other: a -> b -> c -> a (fix: let one of them do without the other)"
    assert told == {f"[E209]: steps.run.saga: {why}"}


async def test_a_circle_through_the_catalogue_is_told(desk: Desk) -> None:
    await desk.keep(child())
    await desk.keep(parent())
    round_: JsonValue = {"run": {"saga": "parent", "compensate": "none"}}

    _, found = await desk.revisions.create_revision(child(steps=round_, output=None, targets=[]), "child.yaml")

    assert [one.code.number for one in found] == ["E209"]


async def test_children_are_nested_only_so_deep(desk: Desk) -> None:
    await desk.keep(text("level_0"))
    for level in range(1, CHILDREN_DEPTH_MAX + 1):
        body: JsonValue = {"run": {"saga": f"level_{level - 1}", "compensate": "undo"}}
        await desk.keep(text(f"level_{level}", targets=[], steps=body, input="shop.v1.Order"))
    body = {"run": {"saga": f"level_{CHILDREN_DEPTH_MAX}", "compensate": "undo"}}

    _, found = await desk.revisions.create_revision(text("too_deep", targets=[], steps=body), "deep.yaml")

    assert [one.code.number for one in found] == ["E004"]


def test_what_is_pinned_is_read_back() -> None:
    assert pinned(pin(b"", {"b": "r1", "a": "r2"})) == {"a": "r2", "b": "r1"}
    assert pin(b"", {}) == b""
    assert pinned(b"\xff") == {}


async def test_an_undo_call_is_not_a_childs(desk: Desk) -> None:
    await desk.keep(child())

    _, found = await desk.revisions.create_revision(parent(compensate={"call": CANCEL}), "parent.yaml")

    assert [one.code.number for one in found] == ["E106", "E202"]
