"""Facts about methods: who is believed, and what follows for a plan."""

from dataclasses import replace

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from orchestrator.definition.annotated import Called, Declared, contradictions, declared
from orchestrator.definition.descriptors import DescriptorsBroken, Types, merge
from orchestrator.definition.diagnostics import At, Findings, Nowhere
from orchestrator.definition.flat import flatten
from orchestrator.definition.model import Compensate, Definition, Step
from orchestrator.ids import StepId
from orchestrator.ports.methods import MethodFacts, TargetFacts
from orchestrator.saga.plan import Call, OutcomeProfile
from orchestrator.v1 import annotations_pb2
from orchestrator.v1.annotations_pb2 import SagaMethod
from tests.unit.definition.desk import Desk
from tests.unit.definition.shop import as_set, stock_file

STOCK = "stock.v1.Stock"
METHODS = Types(as_set(stock_file())).methods(STOCK)
UNSAID = TargetFacts(name="stock")


NOTHING = Declared(idempotent=False, repeatable=False, barrier=False, profile=OutcomeProfile.DEFAULT)


def of(method: str, target: TargetFacts = UNSAID) -> Declared:
    return declared(target, METHODS[method])


def said(**facts: object) -> TargetFacts:
    return TargetFacts(name="stock", every=MethodFacts(**facts))  # type: ignore[arg-type]  # as the cases have it


def test_nothing_is_believed_of_a_method_of_which_nothing_is_said() -> None:
    assert of("Move") == NOTHING


def test_an_owner_is_believed() -> None:
    assert of("Reserve") == replace(NOTHING, idempotent=True, repeatable=True, barrier=True)
    assert of("Ship") == replace(NOTHING, profile=OutcomeProfile.DTM)


def test_a_read_may_be_asked_twice_however_its_owner_says_that_it_is_one() -> None:
    assert of("Count") == of("Look") == replace(NOTHING, idempotent=True, repeatable=True)


def test_that_a_repetition_does_no_harm_is_not_that_it_replays_its_reply() -> None:
    assert of("Put") == replace(NOTHING, repeatable=True)


def test_the_configuration_of_a_target_goes_before_the_owner() -> None:
    assert of("Reserve", said(idempotent=False, barrier=False)) == of("Move")
    assert of("Move", said(idempotent=True, barrier=True)) == of("Reserve")
    assert of("Ship", said(profile=OutcomeProfile.DEFAULT)) == of("Move")
    assert of("Look", said(idempotent=False)) == of("Move")
    assert of("Put", said(idempotent=True)).idempotent


def test_the_configuration_of_a_method_goes_before_that_of_its_target_fact_by_fact() -> None:
    target = TargetFacts(
        name="stock",
        every=MethodFacts(idempotent=True, profile=OutcomeProfile.DTM),
        methods={f"{STOCK}/Move": MethodFacts(idempotent=False), f"{STOCK}/Reserve": MethodFacts(barrier=False)},
    )
    assert of("Move", target) == replace(NOTHING, profile=OutcomeProfile.DTM)
    assert of("Reserve", target) == replace(of("Move", target), idempotent=True, repeatable=True)


def test_an_annotation_is_read_where_the_pool_does_not_know_it() -> None:
    file = stock_file()
    del file.dependency[:]
    assert declared(UNSAID, Types(as_set(file)).methods(STOCK)["Reserve"]).barrier


def test_two_services_with_different_copies_of_the_annotation_file_fit_together() -> None:
    first, second = stock_file(), stock_file()
    second.name, second.package = "other/v1/stock.proto", "other.v1"
    for method in second.service[0].method:
        method.input_type = method.output_type = ".other.v1.Amount"
    current, older = FileDescriptorProto(), FileDescriptorProto()
    annotations_pb2.DESCRIPTOR.CopyToProto(current)
    annotations_pb2.DESCRIPTOR.CopyToProto(older)
    del older.message_type[0].enum_type[1].value[2]

    merged = merge({"a": as_set(current, first), "b": as_set(older, second)})

    assert merged.conflicts == []
    try:
        types = Types(as_set(*merged.files.values()))
    except DescriptorsBroken as error:
        pytest.fail(str(error))
    assert set(types.services()) == {"stock.v1.Stock", "other.v1.Stock"}


async def test_what_an_owner_says_reaches_the_plan(desk: Desk) -> None:
    text = f"""
    saga: probe
    input: json
    targets: [stock]
    steps:
      a: {{call: stock/{STOCK}/Reserve, compensate: {{call: stock/{STOCK}/Release}}}}
      b: {{call: stock/{STOCK}/Put, compensate: none}}
      c: {{call: stock/{STOCK}/Ship, compensate: none}}
    """
    await desk.keep(text)
    a, b, c = (await desk.fresh().plan("probe")).steps.values()
    undo = a.compensation
    assert undo is not None

    def facts(call: Call) -> tuple[bool, bool, bool, str]:
        return call.idempotent, call.barrier, call.repeatable, call.profile.value

    assert [facts(call) for call in (a.call, undo.call, b.call, c.call)] == [
        (True, True, True, "default"),
        (True, False, True, "default"),
        (False, False, True, "default"),
        (False, False, False, "dtm"),
    ]
    assert a.id == StepId("a")


def test_an_annotation_is_part_of_what_names_a_revision() -> None:
    said_more = stock_file(Move=SagaMethod(barrier=True))
    assert merge({"stock": as_set(stock_file())}).files != merge({"stock": as_set(said_more)}).files


@pytest.mark.parametrize(
    ("probe", "wrong"),
    [
        ("Count", ""),
        ("Look", ""),
        ("Put", ""),
        ("Ship", "Ship is declared PIVOT, it changes something"),
    ],
)
def test_a_probe_is_a_read_of_the_step_it_is_asked_for(probe: str, wrong: str) -> None:
    step = Step(call=f"stock/{STOCK}/Reserve", compensate=Compensate(call=f"stock/{STOCK}/Release"))
    definition = Definition(saga="probe", input="json", targets=("stock",), steps={"a": step})
    findings = Findings(origins=Nowhere("probe.yaml"))

    flat = flatten(definition, At(findings, ()))
    contradictions(flat, {"a": Called(forward=METHODS["Reserve"], probe=METHODS[probe])}, At(findings, ()))

    assert [one.message for one in findings.kept] == ([wrong] if wrong else [])


def test_a_probe_of_another_method_is_told() -> None:
    step = Step(call=f"stock/{STOCK}/Move", compensate="none")
    definition = Definition(saga="probe", input="json", targets=("stock",), steps={"a": step})
    findings = Findings(origins=Nowhere("probe.yaml"))

    flat = flatten(definition, At(findings, ()))
    contradictions(flat, {"a": Called(forward=METHODS["Move"], probe=METHODS["Count"])}, At(findings, ()))

    assert [one.message for one in findings.kept] == [
        "Count is declared to probe stock.v1.Stock/Reserve, not stock.v1.Stock/Move"
    ]
