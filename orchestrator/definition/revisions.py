"""Immutable revisions: check, keep, activate, and hand out their compiled plans (implements `ports.plans.Plans`).

A revision's id is a content address: "r" and twelve hex digits of SHA-256 over the canonical source (line ends are
LF, one at the end) and the descriptors the definition needs. What the operator declared about targets (does a method
honour keys, does it keep the barrier) is *not* part of it: that is configuration, read when a plan is compiled, so a
corrected declaration reaches running sagas after a restart without a new revision.

A stored revision is compiled from its own descriptors. The services may be down, or have moved on: a saga keeps the
types it started with.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from orchestrator.definition import bodies
from orchestrator.definition.bound import Bound, Child, Lost, Services
from orchestrator.definition.check import check
from orchestrator.definition.compile import compile_plan
from orchestrator.definition.descriptors import DescriptorsBroken, Types, message_class, pinned
from orchestrator.definition.diagnostics import Diagnostic, Findings, Nowhere, Origins, did_you_mean
from orchestrator.definition.model import Definition
from orchestrator.definition.payloads import from_json, oversized
from orchestrator.definition.pinning import Surroundings, canonical, content_address, judge
from orchestrator.definition.shapes import parse
from orchestrator.definition.together import Draft, Given, circle, cycles, in_order
from orchestrator.definition.yaml import read
from orchestrator.errors import InputInvalid, JournalCorrupted, NotFound, PlanMissing, TargetUnreachable
from orchestrator.limits import (
    CATALOGUE_FRESH_S,
    COMPENSATION_S_DEFAULT,
    DESCRIPTORS_BYTES_MAX,
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
Source = tuple[str, str]
"""What findings call a text by, and the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    plan: Plan
    types: Types
    child: Child
    """As a parent would see it."""


class Revisions:
    """The catalogue with the language in front of it."""

    def __init__(self, catalogue: Catalogue, methods: Methods, clock: Clock, *, is_shared: bool = False) -> None:
        """Nothing is read until it is asked for. `is_shared`: other processes activate revisions there, too."""
        self._catalogue = catalogue
        self._methods = methods
        self._clock = clock
        self._is_shared = is_shared
        self._active: dict[str, str] = {}
        """As far as anybody asked for them; of a shared catalogue, as all of them were at `_active_at`."""
        self._active_at = float("-inf")
        """When it was asked for, by the clock that never goes back."""
        self._activating = asyncio.Lock()
        """An answer from before an activation must not be taken for one from after it."""
        self._compiled: OrderedDict[Key, _Compiled] = OrderedDict()
        self._compiling = asyncio.Lock()

    def __len__(self) -> int:
        """Return how many revisions are compiled in memory."""
        return len(self._compiled)

    async def create_revision(self, source: str, filename: str, validate_only: bool = False) -> Created:  # noqa: FBT001, FBT002  (the caller's own field)
        """Check a YAML text against the services as they are now, and keep it unless there are errors.

        Returns the revision (None where there are errors) and every finding. With `validate_only` nothing is kept.
        """
        return (await self.create_together([(filename, source)], validate_only=validate_only))[0]

    async def create_together(
        self, sources: Sequence[Source], *, validate_only: bool = False, may_be_known: bool = False
    ) -> Sequence[Created]:
        """Do the same for several texts, in any order, whose sagas may run each other as children.

        `may_be_known`: where a service cannot be asked, the active revision will do, if it was made of the same text.
        """
        results: dict[int, Created] = {}
        drafts: dict[int, Draft] = {}
        for index, (filename, source) in enumerate(sources):
            definition, findings = await asyncio.to_thread(_read, source, filename)
            results[index] = None, findings.sorted()
            if definition is not None:
                drafts[index] = Draft(definition=definition, findings=findings, source=canonical(source))
        given = Given({}, cycles(drafts.values()))
        for draft in in_order(drafts.values()):
            created = await self._create(draft, given, validate_only=validate_only, may_be_known=may_be_known)
            results |= {index: created for index, each in drafts.items() if each is draft}
        return [results[index] for index in range(len(sources))]

    async def create_from(
        self, definition: Definition, origins: Origins, source: str, *, validate_only: bool = False
    ) -> Created:
        """Check a tree that was built or read, and keep its source; see `create_revision`."""
        findings = Findings(origins=origins, saga=definition.saga)
        draft = Draft(definition=definition, findings=findings, source=source)
        return await self._create(draft, Given({}, cycles([draft])), validate_only=validate_only)

    async def _create(self, draft: Draft, given: Given, *, validate_only: bool, may_be_known: bool = False) -> Created:
        definition, findings = draft.definition, draft.findings
        name = definition.saga
        given.lost.setdefault(name, Lost(f"definition `{name}` has errors of its own", "mend them first"))
        sets, unreachable = await self._descriptors(definition)
        children, lost = await self._children(draft, given)
        if unreachable and may_be_known and (known := await self._known_text(draft, children)) is not None:
            async with self._compiling:
                given.made[name] = (await self._load(known)).child, known.descriptors
            return known, findings.sorted()
        there = Surroundings(
            sets=sets,
            unreachable=unreachable,
            configured=tuple(self._methods.targets()),
            children=children,
            lost_children=lost,
            facts_of=self._methods.facts,
        )
        judged = await asyncio.to_thread(judge, definition, findings, there)
        if judged is None or findings.has_errors:
            return None, findings.sorted()
        bound, types, descriptors = judged
        revision = Revision(
            definition=name,
            revision=content_address(draft.source, descriptors),
            source=draft.source,
            descriptors=descriptors,
            created_at=self._clock.now(),
        )
        child = _as_child(definition, bound, revision.revision)
        given.made[name] = child, descriptors
        if not validate_only:
            plan = compile_plan(definition, bound, revision.revision, self._methods.facts)
            await self._catalogue.put(revision)
            self._keep(_Compiled(plan=plan, types=types, child=child))
            revision = await self._catalogue.get(revision.definition, revision.revision) or revision
        return revision, findings.sorted()

    async def _known_text(self, draft: Draft, children: Mapping[str, tuple[Child, bytes]]) -> Revision | None:
        """Return the active revision where it was made of the very same text, and runs the same children."""
        stored = await self._catalogue.get(draft.definition.saga)
        if stored is None or stored.source != draft.source:
            return None
        runs = {name: child.revision for name, (child, _) in children.items()}
        return stored if pinned(stored.descriptors) == runs else None

    async def _children(self, draft: Draft, given: Given) -> tuple[dict[str, tuple[Child, bytes]], dict[str, Lost]]:
        """Find the definitions that are run as children: among those given together, or active in the catalogue."""
        children: dict[str, tuple[Child, bytes]] = {}
        lost: dict[str, Lost] = {}
        own = draft.definition.saga
        for name in sorted(draft.children):
            if name in given.made:
                children[name] = given.made[name]
            elif name in given.lost:
                lost[name] = given.lost[name]
            elif (stored := await self._catalogue.get(name)) is None:
                names = [one.definition for one in await self._catalogue.definitions()]
                fix = did_you_mean(name, [*names, *given.made]) or "create it first, or give its file with this one"
                lost[name] = Lost(f"there is no definition `{name}`", fix)
            else:
                try:
                    async with self._compiling:
                        children[name] = (await self._load(stored)).child, stored.descriptors
                except PlanMissing as error:
                    lost[name] = Lost(error.message, "create it again")
            if name in children and own in children[name][0].below:
                del children[name]
                lost[name] = circle((own, name, "…", own))
        return children, lost

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
        """Make a revision the one new sagas start with; raise `NotFound`. The only way to do so in this process.

        Other processes of a cluster start sagas with it `CATALOGUE_FRESH_S` later at the latest.
        """
        async with self._activating:
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
        if self._is_shared and not revision:
            await self._refresh()
        wanted = revision or self._active.get(definition, "")
        if wanted and (known := self._known(definition, wanted)) is not None:
            return known.plan
        async with self._compiling:
            stored = await self.get(definition, wanted)
            if not revision:
                self._active.setdefault(definition, stored.revision)  # another may have been activated meanwhile
            return (await self._load(stored)).plan

    async def _refresh(self) -> None:
        """Learn what others activated, one look for all definitions, however many sagas start."""
        if self._is_fresh():
            return
        async with self._activating:
            if self._is_fresh():
                return
            asked_at = self._clock.monotonic()
            self._active = dict(await self._catalogue.active())
            self._active_at = asked_at

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._active_at < CATALOGUE_FRESH_S

    async def _load(self, stored: Revision) -> _Compiled:
        """Return a compiled revision, its children first; only one at a time is compiled."""
        known = self._known(stored.definition, stored.revision)
        if known is not None:
            return known
        children: dict[str, Child] = {}
        for name, revision in pinned(stored.descriptors).items():
            child = await self._catalogue.get(name, revision)
            if child is None:
                raise PlanMissing(
                    f"{_name(stored)} runs revision {revision} of definition {name}, which is not in the catalogue"
                )
            children[name] = (await self._load(child)).child
        known = await asyncio.to_thread(self._compile, stored, children)
        self._keep(known)
        return known

    def _compile(self, stored: Revision, children: Mapping[str, Child]) -> _Compiled:
        definition, findings = _read(stored.source, f"{stored.definition}/{stored.revision}")
        name = _name(stored)
        if definition is None:
            raise _missing(name, findings)
        try:
            types = Types(stored.descriptors)
        except DescriptorsBroken as error:
            raise PlanMissing(f"{name} cannot be used: its descriptors are broken ({error})") from error
        # what is pinned was checked when it was kept: every target serves every service of it
        every = dict.fromkeys(definition.targets, frozenset(types.services()))
        services = Services(types=types, serves=every, configured=definition.targets, children=children)
        bound = check(definition, services, findings)
        if findings.has_errors:
            raise _missing(name, findings)
        plan = compile_plan(definition, bound, stored.revision, self._methods.facts)
        return _Compiled(plan=plan, types=types, child=_as_child(definition, bound, stored.revision))

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
            return from_json(given.values, descriptor, self._types(plan), path)
        if given.type_name != type_name:
            raise InputInvalid(path, f"is a {given.type_name}, definition {plan.definition} takes {type_name}")
        if given.size_bytes > PAYLOAD_BYTES_MAX:
            raise oversized(given.size_bytes, path)
        try:
            self._types(plan).parser(descriptor)(given.data)
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
            raise PlanMissing(f"{_name(plan)} was put aside: ask for it again")
        return found.types

    def _message(self, plan: Plan, name: str) -> Descriptor:
        found = self._types(plan).message(name)
        if found is None:
            raise PlanMissing(f"{_name(plan)} does not know the type {name}")
        return found


def _as_child(definition: Definition, bound: Bound, revision: str) -> Child:
    compensation_s = definition.deadline.compensation
    below = [step.child for step in bound.steps.values() if step.child is not None]
    return Child(
        definition=definition.saga,
        revision=revision,
        input_type=bound.input_type,
        output_type=bound.output_type,
        budget_s=bodies.forward_s(definition, bound.flat)
        + (compensation_s if compensation_s is not None else COMPENSATION_S_DEFAULT),
        has_pivot=any(one.step.kind == "pivot" for one in bound.flat.values()),
        depth=max((child.depth + 1 for child in below), default=0),
        below=frozenset[str]().union(*(child.below | {child.definition} for child in below)),
    )


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


def _name(of: Revision | Plan) -> str:
    return f"revision {of.revision} of definition {of.definition}"


def _missing(name: str, findings: Findings) -> PlanMissing:
    first = next((found.render() for found in findings.sorted()), "")
    return PlanMissing(f"{name} no longer compiles: {first}")
