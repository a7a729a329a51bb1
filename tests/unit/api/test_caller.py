"""Who acts is the certificate's name, else the name that was given, else the address; nothing else."""

from typing import Any

import pytest

from orchestrator import limits
from orchestrator.api import caller
from orchestrator.errors import InputInvalid


class Call:
    """A call's context, as far as it says who calls."""

    def __init__(self, *metadata: tuple[str, str | bytes], peer: str = "ipv4:10.0.0.7:5123", names: Any = None) -> None:
        self._metadata, self._peer, self._names = metadata, peer, names

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata

    def peer(self) -> str:
        return self._peer

    def peer_identities(self) -> Any:
        return self._names


def who(*metadata: tuple[str, str | bytes], **more: Any) -> str:
    return caller.operator(Call(*metadata, **more))  # type: ignore[arg-type]  # says all that is asked


def test_a_certificate_wins_over_what_the_caller_says_of_itself() -> None:
    assert who(("x-operator", "mallory"), names=[b"ann@desk", b"desk.example"]) == "ann@desk, desk.example"
    assert who(("x-operator", "ann"), names=[]) == "ann"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("ann", "ann"),
        ("%20ann%20", "ann"),
        ("night shift", "night shift"),
        ("%E2%98%83", "\N{SNOWMAN}"),
        ("a%2Fb", "a/b"),
    ],
)
def test_a_name_is_taken_as_it_was_given(given: str, name: str) -> None:
    assert who(("other", "x"), ("x-operator", given)) == name


@pytest.mark.parametrize("given", ["", "%20", "a%0Ab", "%1b[2J", "x" * (limits.API_OPERATOR_CHARS_MAX + 1)])
def test_a_name_that_would_forge_a_line_or_fill_the_audit_is_refused(given: str) -> None:
    with pytest.raises(InputInvalid, match=r"^x-operator: "):
        who(("x-operator", given))


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("ipv4:10.0.0.7:5123", "ipv4:10.0.0.7"),
        ("ipv6:%5B::1%5D:5123", "ipv6:[::1]"),
        ("unix:", "unix"),
        ("", "unknown"),
    ],
)
def test_without_a_name_it_is_the_address_without_its_port(peer: str, name: str) -> None:
    assert who(peer=peer) == name


class Leaving(Call):
    """A caller who is gone in so many seconds; gRPC says "never" as a very large number, or None."""

    def __init__(self, remaining_s: float | None) -> None:
        super().__init__()
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s


@pytest.mark.parametrize(
    ("remaining_s", "within_s"), [(10.0, 9.9), (0.4, 0.35), (0.0, 0.0), (None, None), (1e10, None)]
)
def test_an_answer_is_given_a_little_before_its_caller_has_gone(
    remaining_s: float | None, within_s: float | None
) -> None:
    found = caller.answer_within_s(Leaving(remaining_s))  # type: ignore[arg-type]  # as much of one as is asked
    assert found == (None if within_s is None else pytest.approx(within_s))


@pytest.mark.parametrize("remaining_s", [0.05, 0.4, 3.0])
def test_whoever_waits_for_a_saga_is_answered_with_it_rather_than_told_that_no_answer_came(remaining_s: float) -> None:
    context: Any = Leaving(remaining_s)
    within_s = caller.answer_within_s(context)
    assert within_s is not None
    assert caller.wait_s(context, 60.0) < within_s
