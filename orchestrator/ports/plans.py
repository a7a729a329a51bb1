"""Compiled plans by name and revision, and the typed input they take."""

from collections.abc import Mapping
from typing import Protocol

from orchestrator.frozen import frozen_tuple
from orchestrator.saga.plan import Plan
from orchestrator.values import Payload


@frozen_tuple
class JsonInput:
    """Input as JSON values, to be turned into the plan's input type by proto3 JSON rules."""

    values: Mapping[str, object]


class Plans(Protocol):
    """The catalogue as the machine sees it. Compiling is cached; a plan is immutable."""

    async def plan(self, definition: str, revision: str = "") -> Plan:
        """Return a plan, of the active revision where none is named.

        Raise `NotFound` for an unknown name, `PlanMissing` for a stored revision that no longer compiles.
        """
        ...

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        """Check input against the plan's type; raise `InputInvalid` with the field's path."""
        ...

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        """Check any other message of the plan: a signal, a request or a reply that a person gives.

        `path` is what the caller named the field; raise `InputInvalid` with it and the way down.
        """
        ...

    def to_json(self, plan: Plan, payload: Payload) -> Mapping[str, object]:
        """Return a payload as proto3 JSON values, for people."""
        ...
