"""What a search may ask, checked the same way by every store."""

from orchestrator.errors import InputInvalid
from orchestrator.ports.journal import SearchQuery

ORDERS = ("started_at", "updated_at", "saga_id")
GROUPS = ("", "status", "definition", "revision")


def check_query(query: SearchQuery, group_by: str = "") -> None:
    """Raise `InputInvalid` where the query names an order or a group that does not exist."""
    if query.order_by not in ORDERS:
        raise InputInvalid("order_by", f"{query.order_by!r} is not one of {', '.join(ORDERS)}")
    if group_by not in GROUPS:
        raise InputInvalid("group_by", f"{group_by!r} is not one of {', '.join(GROUPS[1:])}, or nothing")
    if query.limit < 1:
        raise InputInvalid("limit", f"{query.limit} is less than 1")
