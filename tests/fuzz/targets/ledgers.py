"""Ledger files, as `saga verify --ledger` reads them: the bytes of one file."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId
from orchestrator.verify import Findings, Ledgers, read_ledgers
from orchestrator.verify.witnesses import check_strangers
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, flipped, regrown, relined, scalar, spliced

LINE: Final = {
    "ts": 1_763_689_123.5, "method": "Reserve", "report_id": "order-1", "key": "9a7b330a-a736-51e5-8f09-6a5c3c7b6a1d",
    "saga_id": "order-1", "saga_step": "reserve", "op": "forward", "attempt": 1, "effect": 1, "reply": "aGVsbG8=",
}  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give a folder of one ledger."""
    undone = {**LINE, "op": "compensate", "effect": 1, "saga_step": "reserve[17]", "key": "other"}
    nobody = {**LINE, "saga_id": "", "key": ""}
    seeds = ["".join(json.dumps(line) + "\n" for line in lines) for lines in ([LINE], [LINE, undone], [nobody, LINE])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stock.ledger.jsonl"

        def run(data: bytes) -> str:
            path.write_bytes(data)
            try:
                ledgers = Ledgers(read_ledgers(Path(folder)))
            except ConfigError as refused:
                clear(refused.message, "stock.ledger.jsonl")
                return "refused"
            findings = Findings()
            check_strangers({SagaId("order-1")}, ledgers, findings)
            ledgers.keeping({SagaId("order-1"): "order"})
            [str(violation) for violation in findings.violations]
            return "taken"

        yield Target(run=run, mutate=mutated, seeds=[seed.encode() for seed in seeds], input_bytes_max=4 * 1024)


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change bytes, lines, or fields of lines."""
    data = luck.choice(seeds)
    kind = luck.random()
    if kind < 0.3:
        return flipped(luck, data)
    if kind < 0.4:
        return spliced(luck, data, luck.choice(seeds))
    text = data.decode("utf-8", "replace")
    if kind < 0.6:
        return relined(luck, text, luck.choice(seeds).decode("utf-8", "replace")).encode("utf-8", "replace")
    lines = text.splitlines(keepends=True)
    return "".join(_other_fields(luck, line) for line in lines).encode("utf-8", "replace")


def _other_fields(luck: Random, line: str) -> str:
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if isinstance(fields, dict) and luck.random() < 0.7:
        fields[luck.choice([*fields, luck.choice(TEXTS)])] = scalar(luck)
    else:
        fields = regrown(luck, fields, [fields, LINE], lambda text: text + luck.choice(TEXTS))
    return json.dumps(fields) + "\n"
