"""What is evaluated without CEL is what CEL gives: CEL is the oracle."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.values import Payload
from tests.unit.definition.probe import (
    GIVEN,
    LEGACY,
    LEGACY_PARTS,
    ORDER,
    RECEIPT,
    any_of_an_unknown_type,
    compiled,
    message,
    told,
)
from tests.unit.definition.world import FixedFacts

Forms = tuple[str, ...]

ATOMS: dict[str, Forms] = {
    "int": ("input.count", "input.total", "input.status", "input.stock", "input.money.units", "input.cash.units",
            "steps.place.reply.order.count", "steps.many.applied_count", "steps.many.failed_count", "index",
            "item.qty", "item.parent.qty", "reply.order.total", "steps.old.reply.number", "steps.old.reply.kind",
            "steps.old.reply.HasField", "0", "-1", "3", "9223372036854775807",
            "shop.v1.Status.STATUS_PAID"),
    "uint": ("input.seats", "input.mass", "steps.place.reply.order.mass", "0u", "18446744073709551615u"),
    "double": ("input.price", "input.ratio", "reply.order.ratio", "0.0", "-0.0", "1e308", "0.1"),
    "bool": ("input.paid", "steps.place.applied", "steps.gone.applied", "steps.gone.skipped", "reply.ok", "true",
             "false", "has(input.note)", "has(input.money)", "has(input.money.units)", "has(input.items)",
             "has(input.counts)",
             "has(input.count)", "has(input.price)", "has(input.order_id)", "has(input.raw)", "has(input.status)",
             "has(input.stock)", "has(input.card)", "has(input.cash)", "has(input.due)", "has(input.extra)",
             "has(input.limit)", "has(input.packed)", "has(steps.gone.reply.order)", "has(item.parent.parent)",
             "has(input.paid)", "has(steps.old.reply.text)", "has(steps.old.reply.parent)",
             "has(steps.old.reply.parent.text)", "has(steps.old.reply.texts)", "has(steps.old.reply.kind)"),
    "string": ("input.order_id", "input.note", "input.money.currency", "input.card", "saga.id", "saga.uid",
               "steps.place.status", "steps.gone.status", "steps.place.reply.receipt_id", "steps.gone.reply.receipt_id",
               "item.sku", "item.parent.sku", "reply.receipt_id", "steps.old.reply.text",
               "steps.old.reply.parent.text", "''", "'é\U0001f600'", "'\\u2028'", "'a'"),
    "bytes": ("input.raw", "reply.order.raw", "b''", "b'\\xff'"),
    "list": ("input.items", "input.tags", "input.statuses", "steps.place.reply.order.doubles",
             "steps.old.reply.texts"),
    "map": ("input.counts", "input.by_number", "input.amounts"),
}  # fmt: skip
FORMS: dict[str, Forms] = {
    "int": ("size({string})", "{string}.size()", "size({bytes})", "{bytes}.size()", "size({list})", "{list}.size()",
            "size({map})", "{map}.size()", "({bool} ? {int} : {int})",
            "({bool} ? input.tags : steps.place.reply.order.tags).size()"),
    "uint": ("({bool} ? {uint} : {uint})",),
    "double": ("({bool} ? {double} : {double})",),
    "bool": ("!{bool}", "({bool} && {bool})", "({bool} || {bool})", "({bool} ? {bool} : {bool})",
             *(f"({{{kind}}} {sign} {{{kind}}})" for kind in ("int", "uint", "double", "bool", "string", "bytes")
               for sign in ("<", "<=", ">", ">=", "==", "!=")),
             "{string}.startsWith({string})", "{string}.endsWith({string})", "{string}.contains({string})"),
    "string": ("string({int})", "string({uint})", "string({bool})", "string({string})", "({string} + {string})",
               "({bool} ? {string} : {string})"),
    "bytes": ("({bool} ? {bytes} : {bytes})",),
}  # fmt: skip
SCALARS = ("int", "uint", "double", "bool", "string", "bytes")


@st.composite
def sources(draw: st.DrawFn, kind: str, depth: int = 3) -> str:
    if depth == 0 or kind not in FORMS or draw(st.booleans()):
        return draw(st.sampled_from(ATOMS[kind]))
    text = draw(st.sampled_from(FORMS[kind]))
    for hole in (*ATOMS,):
        while f"{{{hole}}}" in text:
            text = text.replace(f"{{{hole}}}", draw(sources(hole, depth - 1)), 1)
    return text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
INTS = st.sampled_from((-(2**31), -1, 0, 1, 3, 2**31 - 1)) | st.integers(-5, 5)
WIDE = st.sampled_from((-(2**63), -1, 0, 3, 2**53 + 1, 2**63 - 1))
ITEMS = st.fixed_dictionaries({}, optional={"sku": TEXTS, "qty": INTS, "parent": st.just({"sku": "up", "parent": {}})})
MONEY = st.fixed_dictionaries({}, optional={"units": WIDE.map(str), "currency": TEXTS})
ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "order_id": TEXTS, "count": INTS, "total": WIDE.map(str), "seats": st.sampled_from((0, 1, 2**32 - 1)),
        "mass": st.sampled_from(("0", "7", str(2**64 - 1))), "paid": st.booleans(), "note": TEXTS,
        "price": st.sampled_from((0.0, -0.0, 1.5, 1e308, "NaN", "Infinity", "-Infinity")),
        "ratio": st.sampled_from((0.0, -0.0, 0.5, 0.1)), "raw": st.sampled_from(("", "AAE=", "/w==")),
        "status": st.sampled_from((0, 1, 2, 77)), "stock": st.sampled_from((0, 2, -5)), "money": MONEY,
        "tags": st.lists(TEXTS, max_size=2), "items": st.lists(ITEMS, max_size=2), "extra": st.just({"a": 1}),
        "counts": st.dictionaries(TEXTS, INTS, max_size=2), "limit": st.just("0"), "doubles": st.just([1.0]),
        "due": st.just("2026-01-01T00:00:00Z"),
    },
)  # fmt: skip
PAID = st.sampled_from(({}, {"card": ""}, {"card": "c"}, {"cash": {}}, {"cash": {"units": "1"}}))


def order(values: dict[str, object]) -> bytes:
    return message(ORDER, **values).SerializeToString()


WORLDS = st.builds(lambda one, other: order({**one, **other}), ORDERS, PAID) | st.sampled_from(
    (order(dict(GIVEN)), any_of_an_unknown_type(), b"", b"\xff", b"\xfa\x7f\x01x", b"\x0a\x01\xff")
)
OLD = st.sets(st.sampled_from(sorted(LEGACY_PARTS))).map(
    lambda parts: {"old": Payload(LEGACY, b"".join(LEGACY_PARTS[part] for part in sorted(parts)))} if parts else {}
)


@st.composite
def worlds(draw: st.DrawFn) -> FixedFacts:
    inner, named = draw(WORLDS), message(RECEIPT, receipt_id=draw(TEXTS), ok=True).SerializeToString()
    within = b"\x12" + bytes([len(inner)]) + inner if len(inner) < 128 else b""
    receipt = draw(st.sampled_from((b"", b"\xff", named))) + within
    return FixedFacts(
        Payload(draw(st.sampled_from((ORDER, ORDER, ORDER, RECEIPT))), draw(WORLDS)),
        replies={**draw(st.sampled_from(({}, {"place": Payload(RECEIPT, receipt)}))), **draw(OLD)},
        statuses={"gone": draw(st.sampled_from(("SKIPPED", "FAILED")))},
        own_reply=draw(st.sampled_from((None, Payload(RECEIPT, receipt)))),
        index=draw(st.sampled_from((None, 0, 7))),
        item=draw(st.none() | ITEMS.map(lambda values: message("shop.v1.Item", **values))),
    )


@settings(max_examples=400)
@given(st.sampled_from(SCALARS).flatmap(sources), st.lists(worlds(), min_size=1, max_size=6))
def test_what_is_evaluated_without_cel_is_what_cel_gives(source: str, facts: list[FixedFacts]) -> None:
    expression = compiled(source)
    alone = replace(expression, direct=None)

    for each in facts:
        assert told(expression, each) == told(alone, each), source


@settings(max_examples=100)
@given(st.sampled_from(SCALARS).flatmap(sources))
def test_what_is_direct_is_evaluated_without_cel(source: str) -> None:
    left_to_cel = "has(input.price)"  # whether -0.0 is there

    expression = compiled(source)
    assert expression.direct is not None or left_to_cel in source
    assert expression.needs == (expression.names if expression.direct is None else frozenset())
