"""W3C baggage: what an operator has named is kept, a stranger's other words go nowhere."""

import string
from collections.abc import Collection
from functools import partial
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.limits import BAGGAGE_CHARS_MAX, BAGGAGE_KEPT_CHARS_MAX
from orchestrator.tracecontext import baggage_values, kept_baggage
from tests.kit.effort import LENGTH, is_quick

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


# --- hostile headers ------------------------------------------------------------------------------------------------

SIGNS = [*NAMES, "zz", "=", ";", ",", " ", "\t", '"', "\\", "%41", "ä", "\n", ":", "x"]
PIECES = (
    "; p= ",
    ";p=",
    "; p",
    " ;",
    "; ",
    "=;",
    "= ",
    " =",
    " ",
    "\t",
    ";",
    "=",
    "a",
    "p=v;",
    " ; p = v ",
    "%41",
    ",",
    ", ",
    ",tenant=a",
)
ENDS = ("", '"', "\\", "ä", "\n", ";", " x", "= =")


def is_token(text: str) -> bool:
    return text != "" and all(sign in string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~" for sign in text)


def said(text: str) -> bool:
    return all("\x21" <= sign <= "\x7e" and sign not in '",;\\' for sign in text)


def pair(text: str) -> tuple[str, str | None] | None:
    """A name, with or without a value; None where it is malformed."""
    at = text.find("=")
    name, value = (text, None) if at < 0 else (text[:at], text[at + 1 :].strip(" \t"))
    name = name.strip(" \t")
    return (name, value) if is_token(name) and (value is None or said(value)) else None


def kept_by_the_letter(header: str, names: Collection[str]) -> str:
    """What section 3.3 of the W3C text says, sign by sign and without a pattern."""
    found: dict[str, str] = {}
    for member in header.split(","):
        pairs = [pair(each) for each in member.split(";")]
        if None in pairs or pairs[0] is None or pairs[0][1] is None or pairs[0][0] not in names:
            continue
        found[pairs[0][0]] = ";".join(
            each[0] if each[1] is None else f"{each[0]}={each[1]}" for each in pairs if each is not None
        )
    return ",".join(found.values())


@settings(max_examples=500)
@given(st.lists(st.sampled_from(SIGNS), max_size=24).map("".join))
def test_what_is_kept_is_what_the_grammar_says(header: str) -> None:
    header = f"tenant={header}"
    assert kept_baggage(header, NAMES) == kept_by_the_letter(header, NAMES)


@pytest.mark.parametrize("start", ["tenant=", "tenant", "zz=", ""])
@pytest.mark.parametrize("piece", PIECES)
def test_a_hostile_header_is_read_in_a_time_that_grows_with_its_length_alone(start: str, piece: str) -> None:
    for length, end in product((LENGTH, BAGGAGE_CHARS_MAX), ENDS):
        header = (start + piece * length)[: length - len(end)] + end
        assert is_quick(partial(kept_baggage, header, NAMES)), f"{length} characters of {start + piece!r} … {end!r}"
        assert is_quick(partial(baggage_values, kept_baggage(header, NAMES)))
