"""W3C baggage: what an operator has named is kept, a stranger's other words go nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits import BAGGAGE_CHARS_MAX, BAGGAGE_KEPT_CHARS_MAX
from orchestrator.tracecontext import baggage_values, kept_baggage

NAMES = ("tenant", "plan-id")


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("", ""),
        ("tenant=acme", "tenant=acme"),
        ("tenant=acme,user=ada,plan-id=7", "tenant=acme,plan-id=7"),
        (" tenant = acme ; via = web ;cached , user=ada", "tenant=acme;via=web;cached"),
        ("tenant=", "tenant="),
        ("tenant=a=b==", "tenant=a=b=="),
        ("tenant=first,tenant=last", "tenant=last"),
        ("Tenant=acme", ""),
        ("tenant", ""),
        ("tenant=two words,plan-id=7", "plan-id=7"),
        ("tenant=a\r\nsaga-id: forged,plan-id=7", "plan-id=7"),
        ('tenant="quoted",plan-id=7', "plan-id=7"),
        ("tenant=ä,plan-id=7", "plan-id=7"),
        ("tenant=acme;bad property,plan-id=7", "plan-id=7"),
        (",,tenant=acme,,", "tenant=acme"),
    ],
)
def test_named_members_are_kept_with_their_properties_and_malformed_ones_dropped_alone(header: str, kept: str) -> None:
    assert kept_baggage(header, NAMES) == kept


def test_without_names_nothing_is_kept() -> None:
    assert kept_baggage("tenant=acme", ()) == ""


def test_a_header_that_is_too_long_counts_as_absent() -> None:
    fits = "tenant=acme,user=" + "x" * (BAGGAGE_CHARS_MAX - len("tenant=acme,user="))
    assert kept_baggage(fits, NAMES) == "tenant=acme"
    assert kept_baggage(fits + "x", NAMES) == ""


def test_what_is_kept_is_bounded_member_by_member() -> None:
    long = "tenant=" + "x" * (BAGGAGE_KEPT_CHARS_MAX - len("tenant="))
    assert kept_baggage(long, NAMES) == long
    assert kept_baggage(long + "x", NAMES) == ""
    assert kept_baggage(f"{long}x,plan-id=7", NAMES) == "plan-id=7", "the one after it still fits"
    assert kept_baggage(f"plan-id=7,{long}", NAMES) == "plan-id=7"


def test_values_are_decoded_for_people() -> None:
    assert baggage_values("tenant=acme%20%C3%A4;via=web,plan-id=7") == {"tenant": "acme ä", "plan-id": "7"}
    assert baggage_values("tenant=%FF") == {"tenant": "\N{REPLACEMENT CHARACTER}"}


@given(st.text(max_size=200), st.sets(st.text(min_size=1, max_size=5), max_size=5))
def test_whatever_comes_what_is_kept_can_be_sent_and_is_kept_again(header: str, names: set[str]) -> None:
    kept = kept_baggage(f"tenant=acme,{header}", names | {"tenant"})
    assert all(0x20 < ord(sign) < 0x7F for sign in kept)
    assert set(baggage_values(kept)) <= names | {"tenant"}
    assert kept_baggage(kept, names | {"tenant"}) == kept
