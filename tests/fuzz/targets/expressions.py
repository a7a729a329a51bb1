"""CEL: a text, compiled where a definition would compile it, and evaluated over what a saga may have recorded."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

from google.protobuf import json_format

from orchestrator.definition.descriptors import message_class
from orchestrator.definition.diagnostics import At, Findings, Nowhere
from orchestrator.definition.expressions import EvaluationFailed, Expression, ValueType
from orchestrator.definition.holes import Hole, Unterminated, scan
from orchestrator.definition.names import Names, Offer, Reading, Replies, during_steps
from orchestrator.values import Payload
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, flipped, reworded
from tests.unit.definition.probe import GIVEN, ORDER, RECEIPT, TYPES
from tests.unit.definition.world import FixedFacts

WORDS: Final = (
    "input", "input.items", "input.tags", "input.counts", "input.by_number", "input.price", "input.total",
    "input.placed_at", "input.lasting", "input.extra", "input.raw", "input.money", "input.status", "input.anything",
    "input.note", "input.order_id", "steps.place.reply", "steps.place.applied", "steps.place.status",
    "steps.many.replies",
    "steps.many.failed_count", "saga.id", "saga.started_at", "reply", "item", "index", "item.sku", "true", "false",
    "null",
    "1", "-1", "0", "1u", "1.5", "1e308", "9223372036854775807", "9223372036854775808", "'a'", "b'\\xff'", "r'\\'",
    '"""',
    "[]", "[1, 2, 3]", "{}", "{'a': 1}", "shop.v1.Order{}", "shop.v1.Money{units: 1}", "google.protobuf.Any{}",
    "duration('1s')", "timestamp('2026-01-01T00:00:00Z')", "timestamp('9999-12-31T23:59:59Z')", "+", "-", "*", "/", "%",
    "==", "!=", "<", ">=", "&&", "||", "!", "? :", "in", ".map(x, x)", ".filter(x, true)", ".all(x, x == x)",
    ".exists(x, x > 1)", ".exists_one(x, true)", "has(input.note)", ".size()", "size(input.items)", "int(", "uint(",
    "double(", "string(", "bytes(", "dyn(", "type(", "math.greatest(", "math.round(", ".split('')", ".join(',')",
    ".replace('a', 'bb')", ".format([1])", "'%s %d %.300f'.format([1, 2, 3.0])", ".matches('(a+)+$')", ".substring(1)",
    ".charAt(9)", ".lowerAscii()", ".reverse()", ".indexOf('a')", "strings.quote('a')", "base64.encode(b'a')",
    "base64.decode('!')", "optional.of(1)", "optional.none()", ".orValue(0)", ".?note", "[?0]", ".getFullYear()",
    ".getHours('Europe/Berlin')", ".getDate('nowhere')", "(", ")", "[", "]", "{", "}", ",", "//", "\n", "as", "break",
)  # fmt: skip
SEEDS: Final = (
    "input.count + 1", "input.items.map(x, x.sku).join(',')", "steps.place.applied ? steps.place.reply.receipt_id : ''",
    "input.items.all(i, i.qty > 0u) && input.price < 10.0", "string(input.total) + '/' + saga.id",
    "has(input.money) ? input.money.units : 0", "input.placed_at + duration('1h') > saga.started_at",
    "shop.v1.Money{units: input.money.units, currency: 'EUR'}", "steps.many.replies.map(r, r)",
    "input.counts['a'] * 2", "item.qty * 2u", "index % 2 == 0", "reply",
    "'%d of %s'.format([input.count, input.order_id])",
    "input.extra.k[2]", "optional.of(input.note).orValue('none')", "math.greatest(input.sizes)",
    "[1, 2, 3].map(x, [1, 2, 3].map(y, x * y))", "input.note.matches('[a-z]+@[a-z]+')", "type(input)",
)  # fmt: skip

FAILED: Final = "failed: "

# What is made of these by these is nearly always an expression that has a type: what is refused at once tries little.
_HOLE: Final = re.compile(r"\{(int|string|bool|list)\}")
ATOMS: Final = {
    "int": ("1", "input.count", "index", "size(input.items)", "int(input.price)", "steps.many.failed_count",
            "9223372036854775807", "-1", "0", "input.by_number.size()", "input.money.units",
            "saga.started_at.getFullYear()"),
    "string": ("'a'", "input.order_id", "saga.id", "steps.place.status", "item.sku", "string(input.total)", "''",
               "input.tags[0]", "input.note", "string(input.raw)", "'\\u2028\\u00e9'", "steps.place.reply.order_id"),
    "bool": ("true", "input.paid", "steps.place.applied", "has(input.money)", "'a' in input.tags",
             "has(reply.order_id)"),
    "list": ("[1, 2, 3]", "input.sizes.map(s, int(s))", "[]", "[input.count, index]", "[1].filter(i, i > index)"),
}  # fmt: skip
FORMS: Final = {
    "int": ("({int} + {int})", "({int} / {int})", "({int} * {int})", "size({list})", "size({string})",
            "({int} % {int})",
            "({bool} ? {int} : {int})", "{list}[{int}]", "math.greatest({list})", "int({string})",
            "{string}.indexOf({string})"),
    "string": ("({string} + {string})", "string({int})", "{string}.replace({string}, {string})",
               "{string}.substring({int})",
               "{list}.map(x, string(x)).join({string})", "'%s %d'.format([{string}, {int}])", "{string}.charAt({int})",
               "base64.encode(bytes({string}))", "{string}.upperAscii()", "strings.quote({string})",
               "{string}.reverse()"),
    "bool": ("({bool} && {bool})", "({bool} || {bool})", "!{bool}", "({int} < {int})", "({string} == {string})",
             "{list}.all(y, y > {int})", "{string}.matches({string})", "{list}.exists(y, {bool})",
             "{string}.contains({string})"),
    "list": ("({list} + {list})", "{list}.map(x, x + {int})", "{list}.filter(x, x > {int})", "[{int}, {int}]",
             "{list}.map(x, {int})", "{string}.split({string}).map(x, size(x))",
             "{list}.map(z, {list}).map(z, size(z))"),
}  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give a language with every kind of name, and what it reads them from: all there, nothing there, nonsense."""
    order, receipt = TYPES.message(ORDER), TYPES.message(RECEIPT)
    assert order is not None
    assert receipt is not None
    offers = {"place": Offer(Replies.ONE, receipt), "many": Offer(Replies.MANY, receipt), "pause": Offer(Replies.NONE)}
    known = during_steps(TYPES, order, offers).with_reply(receipt).with_item("item", ValueType("shop.v1.Item"))
    given = Payload(ORDER, json_format.ParseDict(dict(GIVEN), message_class(order)()).SerializeToString())
    paid = Payload(RECEIPT, b"")
    item = TYPES.message("shop.v1.Item")
    full = FixedFacts(
        given, replies={"place": paid}, own_reply=paid, index=3, many={"many": (paid, paid)},
        item=message_class(item)() if item is not None else None,
    )  # fmt: skip
    worlds = (full, FixedFacts(Payload(ORDER, b"")), FixedFacts(Payload(ORDER, b"\xff\xff")))

    def run(data: bytes) -> str:
        source = data.decode("utf-8", "replace")
        known.uses.clear()
        findings = Findings(origins=Nowhere("saga.yaml"))
        compiled = known.compile(source, At(findings, ("steps", "place", "when")), 0)
        _scanned(source)
        if compiled is None:
            assert findings.has_errors, "not compiled, and nobody says why"
            for each in findings.sorted():
                clear(each.message)
            return "refused"
        text = known.language.as_text(compiled)
        values = 0
        for facts in worlds:
            for one in (compiled, text):
                if not isinstance(one, Expression):
                    continue
                given = _given(known, one, facts)
                values += not given.startswith(FAILED)
                assert one.direct is None or given == _given(known, replace(one, direct=None), facts), "two values"
        return "a value" if values else "no value"

    texts = [path.read_text() for path in (Path(__file__).parents[3] / "compose" / "definitions").glob("*.yaml")]
    written = [part.source for text in sorted(texts) for part in scan(text) if isinstance(part, Hole)]
    yield Target(
        run=run,
        mutate=mutated,
        seeds=[seed.encode() for seed in dict.fromkeys((*SEEDS, *written))],
        input_bytes_max=4 * 1024 + 100,
    )


def _given(known: Names, expression: Expression, facts: FixedFacts) -> str:
    """Return what an evaluation gives, told apart by type, or why it fails."""
    try:
        found = Reading(known, expression.names, facts).evaluate(expression)
    except EvaluationFailed as failed:
        clear(failed.why.ljust(8, "."))
        return FAILED + failed.why
    found = bytes(found) if isinstance(found, bytearray) else found
    return f"{type(found).__name__} {found!r}"


def _scanned(text: str) -> None:
    """Every text of a definition is looked through for holes first."""
    try:
        scan(text)
    except Unterminated as unterminated:
        clear(f"unterminated at {unterminated.offset}: {text[unterminated.offset :][:2]}", "${")


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Make one that has a type, or change words; join expressions by operators, wrap them; seldom change bytes."""
    if luck.random() < 0.4:
        text = grown(luck, luck.choice(list(FORMS)), luck.randrange(1, 6))
        return (text if luck.random() < 0.8 else reworded(luck, text, WORDS)).encode("utf-8", "replace")
    text = luck.choice(seeds).decode("utf-8", "replace")
    kind = luck.random()
    if kind < 0.1:
        return flipped(luck, text.encode())
    if kind < 0.25:
        other = luck.choice(seeds).decode("utf-8", "replace")
        text = luck.choice((f"({text}) {luck.choice(WORDS)} ({other})", f"[{text}, {other}]",
        f"{text}{luck.choice(WORDS)}",
                            f"{luck.choice(WORDS)}{text})", f"{text} ? {other} : {text}",
                            f"[1,2].map(z, {text})"))  # fmt: skip
    if kind > 0.97:
        text = text * luck.randrange(2, 100)
    return reworded(luck, text, (*WORDS, *WORDS, *TEXTS)).encode("utf-8", "replace")


def grown(luck: Random, kind: str, depth: int) -> str:
    """Return an expression of a kind, so deep."""
    if depth == 0 or luck.random() < 0.15:
        return luck.choice(ATOMS[kind])
    form = luck.choice(FORMS[kind])
    return _HOLE.sub(lambda hole: grown(luck, hole[1], depth - 1), form)
