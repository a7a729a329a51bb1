"""Page tokens: the last row comes back, to the same question only, and nothing else is believed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import limits
from orchestrator.api import paging
from orchestrator.errors import InputInvalid

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, st.text(max_size=128), st.text(max_size=100))
def test_the_key_comes_back(at: float, saga_id: str, query: str) -> None:
    token = paging.token((at, saga_id), "ListSagas", query)
    assert token.isascii()
    assert paging.after(token, (float, str), "ListSagas", query) == (at, saga_id)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_token_belongs_to_its_query(one: str, other: str) -> None:
    token = paging.token(("a-1",), one)
    if one != other:
        with pytest.raises(InputInvalid, match=r"^page_token: belongs to another query"):
            paging.after(token, (str,), other)


def test_queries_of_several_words_do_not_run_together() -> None:
    token = paging.token(("a-1",), "ab", "c")
    with pytest.raises(InputInvalid):
        paging.after(token, (str,), "a", "bc")


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_a_strange_token_is_refused(text: str) -> None:
    if text:
        with pytest.raises(InputInvalid, match=r"^page_token: "):
            paging.after(text, (float, str), "x")


@pytest.mark.parametrize(
    "inner", ["[]", "7", "[1]", '{"a":1}', '[1,"x",true,"a"]', '[1,"x",1,2]', '[1,"x",NaN,"a"]', "[" * 900 + "]" * 900]
)
def test_a_token_of_another_shape_is_refused(inner: str) -> None:
    text = base64.urlsafe_b64encode(inner.encode()).decode().rstrip("=")
    with pytest.raises(InputInvalid, match=r"^page_token: is not one that this server gave"):
        paging.after(text, (float, str), "x")


def test_no_token_is_the_first_page() -> None:
    assert paging.after("", (str,), "x") is None


def test_a_token_has_a_bound() -> None:
    assert len(paging.token((1e300, "x" * 128), "x")) < limits.API_PAGE_TOKEN_CHARS_MAX / 5
    with pytest.raises(InputInvalid):
        paging.after("A" * (limits.API_PAGE_TOKEN_CHARS_MAX + 1), (str,), "x")


@pytest.mark.parametrize(
    ("asked", "given_"),
    [(0, limits.API_PAGE_SIZE_DEFAULT), (1, 1), (limits.API_PAGE_SIZE_MAX, limits.API_PAGE_SIZE_MAX)],
)
def test_a_page_has_a_size(asked: int, given_: int) -> None:
    assert paging.page_size(asked) == given_


@pytest.mark.parametrize("asked", [-1, limits.API_PAGE_SIZE_MAX + 1])
def test_a_page_size_has_bounds(asked: int) -> None:
    with pytest.raises(InputInvalid, match=r"^page_size: "):
        paging.page_size(asked)


@given(st.lists(st.integers(0, limits.API_MESSAGE_BYTES_MAX * 2), max_size=30))
def test_a_page_fits_into_a_message_and_always_goes_on(sizes: list[int]) -> None:
    count = paging.fitting(sizes, lambda size: size)
    assert count == len(sizes) or count >= 1
    assert count <= 1 or sum(sizes[:count]) <= limits.API_MESSAGE_BYTES_MAX
    if count < len(sizes):
        assert sum(size + 16 for size in sizes[: count + 1]) > limits.API_MESSAGE_BYTES_MAX


@pytest.mark.parametrize("number", [10**400, 2**63, -(2**63) - 1, True])
@pytest.mark.parametrize("kind", [int, float])
def test_a_number_that_no_store_can_be_asked_for_is_not_ours(number: int, kind: type) -> None:
    forged = paging.token((number,), "ListSagas")
    with pytest.raises(InputInvalid, match="not one that this server gave"):
        paging.after(forged, (kind,), "ListSagas")
