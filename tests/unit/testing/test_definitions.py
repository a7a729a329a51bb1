"""Definitions of one's own, from their files to a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import InputInvalid
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.methods import MethodFacts, TargetFacts
from orchestrator.ports.plans import JsonInput
from orchestrator.saga import SagaStatus
from orchestrator.saga.plan import Operation
from orchestrator.testing import Definitions, Fates, read_definitions, read_tape, swarm
from orchestrator.testing.services import Word
from orchestrator.testing.words import words
from tests.unit.cli.test_check import GOOD, descriptors
from tests.unit.cli.test_sim import PIVOT
from tests.unit.testing.worlds import call

__all__ = ["descriptors"]

OUTER = """\
saga: outer
input: epro.v1.Report
targets: [archive]
steps:
  inner:
    saga: take_in
    input: {report_id: "${input.report_id}"}
    compensate: undo
"""
ANSWER = {"archive.probe": {"valid": True}}


@pytest.fixture
def good(tmp_path: Path, descriptors: str) -> Definitions:
    return compiled(tmp_path, descriptors, GOOD)


def compiled(folder: Path, descriptors: str, *texts: str, targets: tuple[TargetFacts, ...] = ()) -> Definitions:
    files = [folder / f"{number}.yaml" for number, _ in enumerate(texts)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return read_definitions(files, Path(descriptors), targets)


# --- compiling -------------------------------------------------------------------------------------------------------


def test_files_are_compiled_in_their_order_whoever_is_whose_child(tmp_path: Path, descriptors: str) -> None:
    found = compiled(tmp_path, descriptors, OUTER, GOOD)
    assert [plan.definition for plan in found.plans] == ["outer", "take_in"]
    run = found.simulation({}, sagas=1).run(1, tape=())
    assert run.is_sound
    assert run.statuses == {"s1": SagaStatus.COMPLETED, "s1.inner": SagaStatus.COMPLETED}


async def test_a_running_loop_is_no_hindrance(tmp_path: Path, descriptors: str) -> None:
    found = compiled(tmp_path, descriptors, GOOD)
    assert found.simulation({}).run(3, rates=swarm(Fates(3))).is_sound


def test_every_finding_is_told_where_one_is_an_error(tmp_path: Path, descriptors: str) -> None:
    wrong = GOOD.replace("kind: read", "kind: raed").replace("report: ", "reprt: ")
    with pytest.raises(InputInvalid) as caught:
        compiled(tmp_path, descriptors, wrong)
    assert "0.yaml:7:11: error" in str(caught.value)
    with pytest.raises(InputInvalid, match=r"0\.yaml"):
        compiled(tmp_path, descriptors, "- 1")


def test_what_is_declared_about_a_target_is_what_its_service_keeps(tmp_path: Path, descriptors: str) -> None:
    tape = read_tape("reply.lost s1/archive/forward/1")
    bare = compiled(tmp_path, descriptors, GOOD)
    kept = compiled(
        tmp_path, descriptors, GOOD, targets=(TargetFacts(name="archive", every=MethodFacts(idempotent=True)),)
    )
    ends = [each.simulation({}, sagas=1).run(1, tape=tape).statuses[SagaId("s1")] for each in (bare, kept)]
    assert ends == [SagaStatus.COMPENSATED, SagaStatus.COMPLETED], "only what keeps its key is asked again"


# --- a simulation of them --------------------------------------------------------------------------------------------


def test_a_simulation_starts_so_many_of_the_first_with_the_same_input(good: Definitions) -> None:
    given = good.simulation({"report_id": "r1"}, sagas=3)
    assert [begin.definition for begin in given.begins] == ["take_in"] * 3
    assert {begin.input for begin in given.begins} == {
        good.catalogue.input(good.plans[0], JsonInput({"report_id": "r1"}))
    }
    assert len(good.simulation({}).begins) == 10
    with pytest.raises(InputInvalid, match="input"):
        good.simulation({"no": "such field"})


def test_twenty_worlds_break_no_rule(tmp_path: Path, descriptors: str) -> None:
    given = compiled(tmp_path, descriptors, PIVOT).simulation({}, ANSWER, sagas=5)
    for seed in range(1, 21):
        run = given.run(seed, rates=swarm(Fates(seed)))
        assert run.is_sound, run.violations


# --- what services say -----------------------------------------------------------------------------------------------


def test_a_service_says_what_is_given_once_it_is_done_and_else_nothing(good: Definitions) -> None:
    say = words(good.plans, good.catalogue, {"validate": {"valid": True}})
    asked = replace(call(step="validate"), reply_type=good.plans[0].step_of(StepId("validate")).call.reply_type)
    assert say(asked, Word.DONE) == good.catalogue.payload(
        good.plans[0], asked.reply_type, JsonInput({"valid": True}), "reply"
    )
    not_yet = say(asked, Word.NOT_YET)
    assert not_yet is not None
    assert not_yet.data == b""


def test_a_probe_that_has_no_word_for_not_yet_says_nothing(tmp_path: Path, descriptors: str) -> None:
    found = compiled(tmp_path, descriptors, PIVOT)
    say = words(found.plans, found.catalogue, ANSWER)
    asked = call(Operation.PROBE, step="archive")
    assert say(asked, Word.NOT_YET) is None
    assert say(asked, Word.DONE) is not None


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        ({}, "replies: say what answers once it is done: archive.probe"),
        ({"archiv": {}}, "replies.archiv: no such step; there are validate, archive"),
        ({"archive.await": {}}, "replies.archive.await: step archive makes no such call"),
        ({"archive.undo": {}}, "replies.archive.undo: step archive makes no such call"),
        ({"archive.probe": {"vlid": True}}, "replies.archive.probe"),
    ],
)
def test_a_reply_that_fits_nothing_or_is_missing_is_refused(
    tmp_path: Path, descriptors: str, replies: dict[str, dict[str, object]], told: str
) -> None:
    found = compiled(tmp_path, descriptors, PIVOT)
    with pytest.raises(InputInvalid) as caught:
        found.simulation({}, replies)
    assert told in str(caught.value)
