"""Immutable revisions: check, keep, activate, and hand out their compiled plans (implements `ports.plans.Plans`).

A revision's id is a content address: "r" and twelve hex digits of SHA-256 over the canonical source (line ends are
LF, one at the end) and the descriptors the definition needs. What the operator declared about targets (does a method
honour keys, does it keep the barrier) is *not* part of it: that is configuration, read when a plan is compiled, so a
corrected declaration reaches running sagas after a restart without a new revision.

A stored revision is compiled from its own descriptors. The services may be down, or have moved on: a saga keeps the
types it started with.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from orchestrator.definition import fields
from orchestrator.definition.check import Bound, Services, check, needed
from orchestrator.definition.compile import compile_plan
from orchestrator.definition.descriptors import DescriptorsBroken, Merged, Types, closure, merge, message_class
from orchestrator.definition.diagnostics import Code, Diagnostic, Findings, Nowhere, Origins, did_you_mean
from orchestrator.definition.misfit import Misfit, joined
from orchestrator.definition.model import Definition
from orchestrator.definition.shapes import parse
from orchestrator.definition.yaml import read
from orchestrator.errors import InputInvalid, JournalCorrupted, NotFound, PlanMissing, TargetUnreachable
from orchestrator.limits import (
    DESCRIPTORS_BYTES_MAX,
    JSON_DEPTH_MAX,
    JSON_NODES_MAX,
    PAYLOAD_BYTES_MAX,
    PLANS_MAX,
)
from orchestrator.ports.catalogue import Catalogue, Revision
from orchestrator.ports.clock import Clock
from orchestrator.ports.methods import Methods
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.plan import Plan
from orchestrator.values import Payload

Created = tuple[Revision | None, Sequence[Diagnostic]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Compiled:
    plan: Plan
    types: Types


class Revisions:
    """The catalogue with the language in front of it."""

    def __init__(self, catalogue: Catalogue, methods: Methods, clock: Clock) -> None:
        """Nothing is read until it is asked for."""
        self._catalogue = catalogue
        self._methods = methods
        self._clock = clock
        self._active: dict[str, str] = {}
        self._compiled: OrderedDict[Key, _Compiled] = OrderedDict()
        self._compiling = asyncio.Lock()

    async def create_revision(self, source: str, filename: str, validate_only: bool = False) -> Created:  # noqa: FBT001, FBT002  (the caller's own field)
        """Check a YAML text against the services as they are now, and keep it unless there are errors.

        Returns the revision (None where there are errors) and every finding. With `validate_only` nothing is kept.
        """
        definition, findings = await asyncio.to_thread(_read, source, filename)
        if definition is None:
            return None, findings.sorted()
        return await self.create_from(definition, findings.origins, canonical(source), validate_only=validate_only)

    async def create_from(
        self, definition: Definition, origins: Origins, source: str, *, validate_only: bool = False
    ) -> Created:
        """Check a tree that was built or read, and keep its source; see `create_revision`."""
        findings = Findings(origins=origins, saga=definition.saga)
        sets, unreachable = await self._descriptors(definition)
        configured = tuple(self._methods.targets())
        found = await asyncio.to_thread(_judge, definition, findings, sets, unreachable, configured)
        if found is None or findings.has_errors:
            return None, findings.sorted()
        bound, types, descriptors = found
        revision = Revision(
            definition=definition.saga,
            revision=content_address(source, descriptors),
            source=source,
            descriptors=descriptors,
            created_at=self._clock.now(),
        )
        if not validate_only:
            plan = compile_plan(definition, bound, revision.revision, self._methods.facts)
            await self._catalogue.put(revision)
            self._keep(_Compiled(plan, types))
            revision = await self._catalogue.get(revision.definition, revision.revision) or revision
        return revision, findings.sorted()

    async def _descriptors(self, definition: Definition) -> tuple[dict[str, bytes], dict[str, str]]:
        found: dict[str, bytes] = {}
        unreachable: dict[str, str] = {}

        async def ask(target: str) -> None:
            try:
                data = await self._methods.descriptors(target)
            except TargetUnreachable as error:
                unreachable[target] = error.message
                return
            if len(data) > DESCRIPTORS_BYTES_MAX:
                why = f"its descriptors have {len(data)} bytes, more than the {DESCRIPTORS_BYTES_MAX} allowed"
                unreachable[target] = why
            else:
                found[target] = data

        configured = set(self._methods.targets())
        async with asyncio.TaskGroup() as group:
            for target in dict.fromkeys(definition.targets):
                if target in configured:
                    group.create_task(ask(target))
        # the order of answers must not decide which target's file wins
        return {target: found[target] for target in definition.targets if target in found}, unreachable

    # --- the catalogue ---------------------------------------------------------------------------------------------

    async def get(self, definition: str, revision: str = "") -> Revision:
        """Return a revision, the active one where none is named; raise `NotFound`."""
        found = await self._catalogue.get(definition, revision)
        if found is not None:
            return found
        if revision and await self._catalogue.get(definition) is not None:
            raise NotFound("revision", f"{definition}/{revision}", "list what there is with ListRevisions")
        names = [one.definition for one in await self._catalogue.definitions()]
        raise NotFound("definition", definition, did_you_mean(definition, names) or "create it first")

    async def activate(self, definition: str, revision: str) -> None:
        """Make a revision the one new sagas start with; raise `NotFound`. The only way to do so in this process."""
        if not await self._catalogue.activate(definition, revision):
            await self.get(definition, revision)
        self._active[definition] = revision

    async def definitions(self) -> Sequence[Revision]:
        """Return the active revision of every definition, by name."""
        return await self._catalogue.definitions()

    async def revisions(self, definition: str) -> Sequence[Revision]:
        """Return every revision of a definition, newest first."""
        return await self._catalogue.revisions(definition)

    # --- plans -----------------------------------------------------------------------------------------------------

    async def plan(self, definition: str, revision: str = "") -> Plan:
        """Return a compiled plan; compiled once, however many sagas ask at the same time."""
        wanted = revision or self._active.get(definition, "")
        if wanted and (known := self._known(definition, wanted)) is not None:
            return known.plan
        async with self._compiling:
            stored = await self.get(definition, revision)
            known = self._known(definition, stored.revision)
            if known is None:
                known = await asyncio.to_thread(self._compile, stored)
                self._keep(known)
            if not revision:
                self._active[definition] = stored.revision
            return known.plan

    def _compile(self, stored: Revision) -> _Compiled:
        definition, findings = _read(stored.source, f"{stored.definition}/{stored.revision}")
        name = f"revision {stored.revision} of definition {stored.definition}"
        if definition is None:
            raise _missing(name, findings)
        try:
            types = Types(stored.descriptors)
        except DescriptorsBroken as error:
            raise PlanMissing(f"{name} cannot be used: its descriptors are broken ({error})") from error
        # what is pinned was checked when it was kept: every target serves every service of it
        every = dict.fromkeys(definition.targets, frozenset(types.services()))
        services = Services(types=types, serves=every, configured=definition.targets)
        bound = check(definition, services, findings)
        if findings.has_errors:
            raise _missing(name, findings)
        return _Compiled(compile_plan(definition, bound, stored.revision, self._methods.facts), types)

    def _known(self, definition: str, revision: str) -> _Compiled | None:
        found = self._compiled.get((definition, revision))
        if found is not None:
            self._compiled.move_to_end((definition, revision))
        return found

    def _keep(self, compiled: _Compiled) -> None:
        self._compiled[(compiled.plan.definition, compiled.plan.revision)] = compiled
        while len(self._compiled) > PLANS_MAX:
            self._compiled.popitem(last=False)

    # --- payloads --------------------------------------------------------------------------------------------------

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        """Check input against the plan's type; raise `InputInvalid` with the field's path."""
        return self.payload(plan, plan.input_type, given, "input")

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        """Check a message against a type of the plan; raise `InputInvalid` with the field's path below `path`."""
        descriptor = self._message(plan, type_name)
        if isinstance(given, JsonInput):
            return _from_json(given.values, descriptor, self._types(plan), path)
        if given.type_name != type_name:
            raise InputInvalid(path, f"is a {given.type_name}, definition {plan.definition} takes {type_name}")
        if given.size_bytes > PAYLOAD_BYTES_MAX:
            raise _oversized(given.size_bytes, path)
        try:
            message_class(descriptor).FromString(given.data)
        except DecodeError as error:
            raise InputInvalid(path, f"is not a {type_name}: {error}") from error
        return given

    def to_json(self, plan: Plan, payload: Payload) -> Mapping[str, object]:
        """Return a payload as proto3 JSON with the fields' own names; raise `JournalCorrupted` where it is none."""
        descriptor = self._message(plan, payload.type_name)
        try:
            message = message_class(descriptor).FromString(payload.data)
            pool = self._types(plan).pool
            found: dict[str, object] = json_format.MessageToDict(
                message, preserving_proto_field_name=True, descriptor_pool=pool
            )
        except (DecodeError, TypeError, ValueError, json_format.Error) as error:
            raise JournalCorrupted(f"a recorded {payload.type_name} cannot be shown: {error}") from error
        return found

    def _types(self, plan: Plan) -> Types:
        found = self._known(plan.definition, plan.revision)
        if found is None:
            raise PlanMissing(
                f"revision {plan.revision} of definition {plan.definition} was put aside: ask for it again"
            )
        return found.types

    def _message(self, plan: Plan, name: str) -> Descriptor:
        found = self._types(plan).message(name)
        if found is None:
            raise PlanMissing(f"revision {plan.revision} of definition {plan.definition} does not know the type {name}")
        return found


def canonical(source: str) -> str:
    """Return the form of a text that is kept and addressed: the same on every system."""
    return source.replace("\r\n", "\n").rstrip() + "\n"


def content_address(source: str, descriptors: bytes) -> str:
    """Return a revision's id."""
    digest = hashlib.sha256(source.encode())
    digest.update(b"\0")  # no text holds one, so the two parts cannot be confused
    digest.update(descriptors)
    return f"r{digest.hexdigest()[:12]}"


def _read(source: str, filename: str) -> tuple[Definition | None, Findings]:
    document, diagnostics = read(source, filename)
    if document is None or not isinstance(document.root, dict):
        findings = Findings(origins=Nowhere(filename))
        for found in diagnostics:
            findings.keep(found)
        return None, findings
    name = document.root.get("saga")
    findings = Findings(origins=document, saga=name if isinstance(name, str) else "")
    return parse(document.root, findings), findings


def _judge(
    definition: Definition,
    findings: Findings,
    sets: Mapping[str, bytes],
    unreachable: Mapping[str, str],
    configured: Sequence[str],
) -> tuple[Bound, Types, bytes] | None:
    merged = merge(sets)
    _conflicts(definition, merged, findings)
    services, input_type = needed(definition)
    descriptors = closure(merged.files, _roots(merged, services, input_type))
    try:
        types = Types(descriptors)
    except DescriptorsBroken as error:
        findings.at_key(
            Code.DESCRIPTOR_CONFLICT, ("targets",), f"the targets' descriptors do not fit together: {error}"
        )
        return None
    known = Services(
        types=types, serves=merged.services, configured=configured, unreachable={**unreachable, **merged.broken}
    )
    return check(definition, known, findings), types, descriptors


def _conflicts(definition: Definition, merged: Merged, findings: Findings) -> None:
    for conflict in merged.conflicts:
        first, second = conflict.targets
        path = ("targets", list(definition.targets).index(second))
        message = f"targets `{first}` and `{second}` have different files named {conflict.file}"
        fix = "deploy both with one version of it, or rename one"
        findings.at_value(Code.DESCRIPTOR_CONFLICT, path, message, fix)


def _roots(merged: Merged, services: frozenset[str], input_type: str) -> Sequence[str]:
    """Return the files that declare what a definition names."""
    roots: list[str] = []
    for name, file in merged.files.items():
        prefix = f"{file.package}." if file.package else ""
        declares = any(prefix + service.name in services for service in file.service)
        messages = {prefix + message.name for message in file.message_type}
        # a nested type is named after the message around it
        is_input = input_type in messages or any(input_type.startswith(f"{one}.") for one in messages)
        if declares or is_input:
            roots.append(name)
    return roots


def _missing(name: str, findings: Findings) -> PlanMissing:
    first = next((found.render() for found in findings.sorted()), "")
    return PlanMissing(f"{name} no longer compiles: {first}")


def _from_json(values: Mapping[str, object], descriptor: Descriptor, types: Types, path: str) -> Payload:
    _bound_json(values, path)
    message = message_class(descriptor)()
    try:
        json_format.ParseDict(cast("dict[str, Any]", values), message, descriptor_pool=types.pool)
        data = message.SerializeToString(deterministic=True)
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise _explained(values, descriptor, error, path) from error
    if len(data) > PAYLOAD_BYTES_MAX:
        raise _oversized(len(data), path)
    return Payload(descriptor.full_name, data)


def _explained(values: Mapping[str, object], descriptor: Descriptor, error: Exception, path: str) -> InputInvalid:
    """Say where the input is wrong: the parser's own text names no list index and no way down."""
    scratch: Message = message_class(descriptor)()
    try:
        fields.fill(scratch, values)
    except Misfit as misfit:
        hint = f" ({misfit.fix})" if misfit.fix else ""
        return InputInvalid(joined(path, misfit.path), f"{misfit.why}{hint}")
    return InputInvalid(path, str(error).splitlines()[0])


def _bound_json(values: Mapping[str, object], path: str) -> None:
    """Refuse what would exhaust the parser's stack or this process's memory, before anything is parsed (D-11)."""
    todo: list[tuple[object, int]] = [(values, 1)]
    nodes = 0
    while todo:
        value, depth = todo.pop()
        nodes += 1
        if depth > JSON_DEPTH_MAX:
            raise InputInvalid(path, f"is nested more than {JSON_DEPTH_MAX} deep")
        if nodes > JSON_NODES_MAX:
            raise InputInvalid(path, f"has more than {JSON_NODES_MAX} values")
        if isinstance(value, Mapping):
            todo.extend((item, depth + 1) for item in cast("Mapping[str, object]", value).values())
        elif isinstance(value, (list, tuple)):
            todo.extend((item, depth + 1) for item in cast("Sequence[object]", value))


def _oversized(size_bytes: int, path: str) -> InputInvalid:
    return InputInvalid(path, f"has {size_bytes} bytes, more than the {PAYLOAD_BYTES_MAX} allowed")
