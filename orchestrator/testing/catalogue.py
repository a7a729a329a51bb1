"""A catalogue of plans that are there already: nothing is compiled and nothing is stored."""

from collections.abc import Mapping

from orchestrator.errors import InputInvalid, NotFound
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.plan import Plan
from orchestrator.values import Payload


class FixedPlans:
    """`Plans` of plans written in `shorthand`, whose messages are plain bytes."""

    def __init__(self, *plans: Plan) -> None:
        """Take one plan of each definition."""
        self._plans = {each.definition: each for each in plans}

    async def plan(self, definition: str, revision: str = "") -> Plan:
        if (found := self._plans.get(definition)) is None:
            raise NotFound("definition", definition)
        return found

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        return self.payload(plan, plan.input_type, given, "input")

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        """JSON is `{"data": text}`, as `to_json` gives it."""
        if isinstance(given, JsonInput):
            data = given.values.get("data")
            if not isinstance(data, str):
                raise InputInvalid(f"{path}.data", "is no text")
            return Payload(type_name, data.encode())
        if given.type_name != type_name:
            raise InputInvalid(path, f"is a {given.type_name} and no {type_name}")
        return given

    def to_json(self, plan: Plan, payload: Payload) -> Mapping[str, object]:
        return {"data": payload.data.decode()}
