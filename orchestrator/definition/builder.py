"""A saga written in Python: the same tree as YAML, the same checks, findings that point at the Python line.

::

    saga = SagaBuilder("transfer", input="bank.v1.Transfer", targets=["accounts"])
    debit = saga.step(
        "debit",
        "accounts/bank.v1.Accounts/Debit",
        request={"account": "${input.source}", "amount": "${input.amount}"},
        compensate=undo("accounts/bank.v1.Accounts/Refund", request={"transfer_id": "${input.transfer_id}"}),
    )
    saga.step("credit", "accounts/bank.v1.Accounts/Credit", after=[debit], compensate="none", request={...})
    built = saga.build()

`built.source` is the YAML of the tree, which is what a catalogue keeps. No code of an author runs in a saga: Python
only writes the tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from orchestrator.definition.block import Block, Lasting, Parts, Tree, caller, fields, given
from orchestrator.definition.diagnostics import Code, Diagnostic, Findings, Nowhere
from orchestrator.definition.durations import lasting
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition, OnFailureName
from orchestrator.definition.shapes import parse
from orchestrator.definition.yaml import read
from orchestrator.errors import DefinitionInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A tree whose shape is right, for `Revisions.create_from`."""

    definition: Definition
    origins: Nowhere
    source: str
    """The same tree as YAML."""


class SagaBuilder:
    """Collects a definition; nothing is checked before `build`."""

    def __init__(
        self,
        name: str,
        *,
        input: str,  # noqa: A002  (the language's word)
        targets: Sequence[str] = (),
        description: str = "",
        attributes: Mapping[str, str | float | bool] | None = None,
        forward: Lasting | None = None,
        compensation: Lasting | None = None,
        undo_order: Literal["parallel", "sequential"] | None = None,
        on_failure: OnFailureName | None = None,
    ) -> None:
        """Begin a definition; `forward` and `compensation` are its deadline."""
        deadline: dict[str, JsonValue | None] = {
            "forward": lasting(forward),
            "compensation": lasting(compensation),
        }
        tree: dict[str, JsonValue | None] = {
            "saga": name,
            "description": description or None,
            "input": input,
            "deadline": given(deadline) or None,
            "targets": list(targets),
            "attributes": dict(attributes) if attributes else None,
            "on_failure": on_failure,
            "compensation": {"order": undo_order} if undo_order else None,
        }
        self._parts = Parts(tree=given(tree), places={(): caller()})
        self._steps: dict[str, JsonValue] = {}
        block = Block(self._parts, ("steps",), self._steps)
        # the steps of the saga are a block like any other
        self.step: Final = block.step
        self.sleep: Final = block.sleep
        self.wait: Final = block.wait
        self.child: Final = block.child
        self.scope: Final = block.scope
        self.otherwise: Final = block.otherwise

    def output(self, tree: Tree) -> None:
        """Say what a completed saga answers."""
        self._parts.tree["output"] = fields(tree)
        self._parts.places["output",] = caller()

    def build(self) -> Built:
        """Return the tree; raise `DefinitionInvalid` with every wrong shape."""
        parts = self._parts
        origins = Nowhere(parts.places[()].file, parts.places)
        findings = Findings(origins=origins, saga=str(parts.tree["saga"]))
        for path, place in parts.twice:
            findings.add(Code.DUPLICATE_KEY, place, path, f"step `{path[-1]}` is added twice", "rename one of them")
        tree = {**parts.tree, "steps": self._steps}
        definition = parse(tree, findings)
        if definition is None or findings.has_errors:
            raise invalid(str(parts.tree["saga"]), findings.sorted())
        source = to_yaml(definition)
        # what is kept must be readable for ever: the text has limits and forbidden characters that a tree has not
        document, diagnostics = read(source, origins.file)
        if document is None:
            raise invalid(definition.saga, diagnostics)
        return Built(definition=definition, origins=origins, source=source)


def invalid(saga: str, found: Sequence[Diagnostic]) -> DefinitionInvalid:
    """Return findings as the error that a caller sees."""
    lines = [one.render() for one in found]
    return DefinitionInvalid(f"definition {saga} has {len(lines)} findings: {lines[0]}", lines)
