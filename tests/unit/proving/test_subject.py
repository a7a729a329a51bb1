"""Requests with holes, and what is said where they do not fit."""

from typing import Any

import pytest
from google.protobuf import json_format

from orchestrator.proving import RULES, Asked, Probe, Unfit
from orchestrator.proving.subject import Subject
from orchestrator.proving.trials import TRIALS
from tests.kit import theatre

DESCRIPTORS = theatre.DESCRIPTORS.SerializeToString()


def subject(**given: Any) -> Subject:
    asked = Asked(
        forward=given.get("forward", f"{theatre.SERVICE}/Reserve"),
        compensate=f"{theatre.SERVICE}/Release",
        request=given.get("request", {"client": "c-{unique}", "seats": 2}),
        undo_request=given.get("undo_request", {}),
        probe=given.get("probe"),
    )
    return Subject(asked, DESCRIPTORS)


def plain(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def reply() -> Any:
    made = subject().forward.reply()
    return json_format.ParseDict({"reservation_id": "R7", "client": "ada"}, made)


def test_a_hole_takes_the_trials_word() -> None:
    assert plain(subject().forward_request("w1")) == {"client": "c-w1", "seats": 2}


def test_the_undo_takes_fields_of_the_reply_and_of_the_request() -> None:
    by_reply = subject(undo_request={"client": "{reply.reservation_id}"})
    assert plain(by_reply.undo_request("w1", reply())) == {"client": "R7"}
    by_request = subject(undo_request={"client": "{request.client}!"})
    assert plain(by_request.undo_request("w1", None)) == {"client": "c-w1!"}


def test_what_only_a_reply_could_fill_is_left_out_while_there_is_none() -> None:
    whole = subject(undo_request={"client": "{reply.reservation_id}"})
    assert plain(whole.undo_request("w1", None)) == {}
    within = subject(undo_request={"client": "id={reply.reservation_id}"})
    assert plain(within.undo_request("w1", None)) == {"client": "id="}


def test_braces_that_are_no_hole_stay() -> None:
    assert plain(subject(request={"client": "{name} {}"}).forward_request("w1")) == {"client": "{name} {}"}


@pytest.mark.parametrize(
    ("expression", "count"),
    [("size(reply.reservations)", 2), ("reply.reservations.exists(r, r.client == 'ada')", 1), ("uint(3)", 3)],
)
def test_effects_are_counted_by_an_expression_over_the_probes_reply(expression: str, count: int) -> None:
    probe = Probe(method=f"{theatre.SERVICE}/List", request={"client": "c-{unique}"}, count=expression)
    found = subject(probe=probe)
    assert found.can_count
    assert plain(found.probe_request("w1", None)) == {"client": "c-w1"}
    assert found.probe is not None
    listed = json_format.ParseDict({"reservations": [{"client": "ada"}, {"client": "bob"}]}, found.probe.reply())
    assert found.effects(listed) == count


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"forward": "theatre.v1.BoxOffice/Sell"}, "no method 'theatre.v1.BoxOffice/Sell'"),
        ({"request": {"seats": "many"}}, "--request is not a theatre.v1.ReserveRequest"),
        ({"undo_request": {"seat": 1}}, "--undo-request is not a theatre.v1.ReleaseRequest"),
        ({"undo_request": {"client": "{reply.client.name}"}}, "no field 'name' there; it has: no fields"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_call(given: dict[str, Any], told: str) -> None:
    with pytest.raises(Unfit, match=told):
        subject(**given)


def test_every_rule_has_a_trial_and_presupposes_only_what_is_tried_before() -> None:
    assert list(TRIALS) == list(RULES)
    for at, (name, rule) in enumerate(RULES.items()):
        assert set(rule.presupposes) <= set(list(RULES)[:at]), name
