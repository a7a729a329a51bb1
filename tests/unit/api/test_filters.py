"""The filter language: what it says, and where it says that something is wrong."""

import math
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import limits
from orchestrator.api import filters
from orchestrator.errors import InputInvalid
from orchestrator.ports.journal import SearchQuery
from orchestrator.saga.state import SagaStatus
from tests.kit.effort import LENGTH, is_quick

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
AFTER_NOON = math.nextafter(NOON, math.inf)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", SearchQuery()),
        ("  ", SearchQuery()),
        ("status = RUNNING", SearchQuery(statuses=frozenset({SagaStatus.RUNNING}))),
        ("status=RUNNING", SearchQuery(statuses=frozenset({SagaStatus.RUNNING}))),
        (
            'status = RUNNING OR status = "COMPENSATING" AND definition = job',
            SearchQuery(statuses=frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATING}), definition="job"),
        ),
        (
            "((status = RUNNING OR status = COMPENSATING)) AND status = RUNNING",
            SearchQuery(statuses=frozenset({SagaStatus.RUNNING})),
        ),
        ('definition = "job" AND revision = r1', SearchQuery(definition="job", revision="r1")),
        ('attributes.patient = "P 7"', SearchQuery(attributes={"patient": "P 7"})),
        (r'attributes."a key" = "say \"so\" \\"', SearchQuery(attributes={"a key": 'say "so" \\'})),
        ("attributes.a = 3 AND attributes.b = -0.5", SearchQuery(attributes={"a": 3, "b": -0.5})),
        ('attributes.a = "3" AND attributes.b = true', SearchQuery(attributes={"a": "3", "b": True})),
        ("attributes.a = P-7", SearchQuery(attributes={"a": "P-7"})),
        ('start_time >= "2026-01-31T12:00:00Z"', SearchQuery(started_from_at=NOON)),
        ('start_time > "2026-01-31T12:00:00Z"', SearchQuery(started_from_at=AFTER_NOON)),
        ('start_time < "2026-01-31T14:00:00+02:00"', SearchQuery(started_before_at=NOON)),
        ('start_time <= "2026-01-31T12:00:00Z"', SearchQuery(started_before_at=AFTER_NOON)),
        (
            'start_time >= "2026-01-31T12:00:00Z" AND start_time >= "2025-01-31T12:00:00Z"',
            SearchQuery(started_from_at=NOON),
        ),
    ],
)
def test_a_filter_is_a_query(text: str, query: SearchQuery) -> None:
    assert filters.parse(text) == query


def test_whole_numbers_stay_whole_and_huge_ones_stay_numbers() -> None:
    parsed = filters.parse(f"attributes.a = 3 AND attributes.b = 3.0 AND attributes.c = {2**70}").attributes
    assert [type(parsed[name]) for name in "abc"] == [int, float, float]


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        ("colour = red", 1, "not a name to filter by"),
        ("status = RUNNING AND colour = red", 22, "not a name to filter by"),
        ("status = GONE", 10, "not a status"),
        ("status RUNNING", 8, "expected ="),
        ("status != RUNNING", 8, "expected ="),
        ("status =", 9, "expected a value"),
        ("status = RUNNING AND", 21, "expected a term after AND"),
        ("status = RUNNING status = COMPLETED", 18, "expected AND"),
        ("status = RUNNING AND status = COMPLETED", 22, "two statuses at once"),
        ("(status = RUNNING", 18, "expected )"),
        ("status = RUNNING)", 17, "expected AND"),
        ("NOT status = RUNNING", 1, "NOT is not supported"),
        ("-status = RUNNING", 1, "NOT is not supported"),
        ("definition = a OR definition = b", 1, "OR joins statuses only"),
        ("definition = a AND definition = b", 20, "two values at once"),
        ('definition = ""', 14, "never empty"),
        ("attributes. = 3", 1, "wants the attribute's name"),
        ("attributes.a < 3", 14, "expected ="),
        ("attributes.a = 1e999", 16, "too large"),
        ('definition = "job', 14, "closing quote"),
        ("start_time = 2026", 12, "expected <"),
        ('start_time > "2026-01-31"', 14, "not an instant"),
        ('start_time > "2026-01-31T00:00:00"', 14, "not an instant"),
        ("start_time > yesterday", 14, "not an instant"),
        ("= 3", 1, "expected a name"),
    ],
)
def test_a_mistake_is_named_with_its_position(text: str, position: int, why: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        filters.parse(text)
    assert caught.value.path == "filter"
    assert caught.value.why.startswith(f"position {position}: ")
    assert why in caught.value.why


@pytest.mark.parametrize("over", [0, 1])
def test_a_filter_has_a_bound(over: int) -> None:
    text = "status = RUNNING".ljust(limits.API_FILTER_CHARS_MAX + over)
    if over:
        with pytest.raises(InputInvalid, match=f"more than {limits.API_FILTER_CHARS_MAX}"):
            filters.parse(text)
    else:
        assert filters.parse(text).statuses == {SagaStatus.RUNNING}


@given(st.text(alphabet='abz019 ="\\()<>.:-!\n', max_size=60) | st.text(max_size=60))
def test_any_text_is_a_query_or_a_clear_refusal(text: str) -> None:
    found = None
    with suppress(InputInvalid):
        found = filters.parse(text)
    assert found is None or isinstance(found, SearchQuery)


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_a_quoted_text_is_taken_as_it_is(name: str, value: str) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    assert filters.parse(f"attributes.{quoted(name)} = {quoted(value)}").attributes == {name: value}


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("", ("started_at", True)),
        ("start_time", ("started_at", False)),
        ("start_time desc", ("started_at", True)),
        ("update_time  desc", ("updated_at", True)),
        ("saga_id asc", ("saga_id", False)),
    ],
)
def test_an_order_is_a_name_and_a_direction(order_by: str, expected: tuple[str, bool]) -> None:
    query = filters.ordered(SearchQuery(), order_by)
    assert (query.order_by, query.descending) == expected


@pytest.mark.parametrize("order_by", ["status", "start_time down", "start_time, saga_id", "desc"])
def test_an_order_the_store_cannot_keep_is_refused(order_by: str) -> None:
    with pytest.raises(InputInvalid, match=r"^order_by: "):
        filters.ordered(SearchQuery(), order_by)


def test_groups_are_those_the_store_counts() -> None:
    assert [filters.group_by(name) for name in ("", "status", "definition", "revision")]
    with pytest.raises(InputInvalid, match=r"^group_by: "):
        filters.group_by("colour")


@pytest.mark.parametrize(
    "start", ["", '"', "status = ", "revision=", "attributes.a = ", 'attributes."', "start_time >= "]
)
@pytest.mark.parametrize("piece", [" ", '"', "\\", "\\a", '\\"', "(", "= ", "a ", "1", "1e", "1.", "- ", "\n\t"])
def test_a_hostile_filter_is_read_in_a_time_that_grows_with_its_length_alone(start: str, piece: str) -> None:
    for length in (LENGTH, limits.API_FILTER_CHARS_MAX):
        assert is_quick(partial(_read, (start + piece * length)[:length]))


def _read(text: str) -> None:
    with suppress(InputInvalid):
        filters.parse(text)
