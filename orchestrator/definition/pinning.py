"""What a revision keeps beside its text: the descriptors of all it names, and the revisions of its children.

The descriptors come from the targets as they are now; what a child takes and gives comes from the child's own, where no
target of the parent brought it. A revision's id is a content address over both, so that a parent whose child has moved
on is another revision.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.definition import found, operations
from orchestrator.definition.bound import Bound, Child, FactsOf, Lost, Services
from orchestrator.definition.check import check
from orchestrator.definition.descriptors import DescriptorsBroken, File, Merged, Types, closure, merge, pin
from orchestrator.definition.diagnostics import At, Code, Findings
from orchestrator.definition.flat import flatten
from orchestrator.definition.model import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is there when a revision is made."""

    sets: Mapping[str, bytes]
    """Target -> its descriptor set, in the order of the definition's targets."""
    unreachable: Mapping[str, str]
    configured: Sequence[str]
    children: Mapping[str, tuple[Child, bytes]]
    """Definition -> the revision that is run as a child, and its descriptors."""
    lost_children: Mapping[str, Lost]
    facts_of: FactsOf


def judge(definition: Definition, findings: Findings, there: Surroundings) -> tuple[Bound, Types, bytes] | None:
    """Check a definition, and return what is pinned with it; None where that cannot even be put together."""
    merged = merge(there.sets)
    _conflicts(definition, merged, findings)
    files = dict(merged.files)
    for _, (_, descriptors) in sorted(there.children.items()):
        files = {**merge({"": descriptors}).files, **files}
    flat = flatten(definition, At(Findings(origins=findings.origins), ()))
    services, types_named = found.needed(definition, flat)
    taken = {name for child, _ in there.children.values() for name in (child.input_type, child.output_type)}
    descriptors = closure(files, _roots(files, services, types_named | taken | _responses(files, services)))
    try:
        types = Types(descriptors)
    except DescriptorsBroken as error:
        findings.at_key(
            Code.DESCRIPTOR_CONFLICT, ("targets",), f"the targets' descriptors do not fit together: {error}"
        )
        return None
    known = Services(
        types=types,
        serves=merged.services,
        configured=there.configured,
        unreachable={**there.unreachable, **merged.broken},
        children={name: child for name, (child, _) in there.children.items()},
        lost_children=there.lost_children,
        facts_of=there.facts_of,
    )
    pins = {child.definition: child.revision for child, _ in there.children.values()}
    return check(definition, known, findings), types, pin(descriptors, pins)


def _conflicts(definition: Definition, merged: Merged, findings: Findings) -> None:
    for conflict in merged.conflicts:
        first, second = conflict.targets
        path = ("targets", list(definition.targets).index(second))
        message = f"targets `{first}` and `{second}` have different files named {conflict.file}"
        fix = "deploy both with one version of it, or rename one"
        findings.at_value(Code.DESCRIPTOR_CONFLICT, path, message, fix)


def _responses(files: Mapping[str, File], services: frozenset[str]) -> frozenset[str]:
    """Return what the operations that methods answer with will give."""
    methods = [
        (method, file.package)
        for file in files.values()
        for service in file.service
        if _prefix(file) + service.name in services
        for method in service.method
    ]
    return frozenset(operations.response_in(method, package) for method, package in methods)


def _roots(files: Mapping[str, File], services: frozenset[str], types: frozenset[str]) -> Sequence[str]:
    """Return the files that declare what a definition names."""
    roots: list[str] = []
    for name, file in files.items():
        prefix = _prefix(file)
        declares = any(prefix + service.name in services for service in file.service)
        messages = {prefix + message.name for message in file.message_type}
        # a nested type is named after the message around it
        is_named = any(type_ in messages or any(type_.startswith(f"{one}.") for one in messages) for type_ in types)
        if declares or is_named:
            roots.append(name)
    return roots


def _prefix(file: File) -> str:
    return f"{file.package}." if file.package else ""


def canonical(source: str) -> str:
    """Return the form of a text that is kept and addressed: the same on every system."""
    return source.replace("\r\n", "\n").rstrip() + "\n"


def content_address(source: str, descriptors: bytes) -> str:
    """Return a revision's id."""
    digest = hashlib.sha256(source.encode())
    digest.update(b"\0")  # no text holds one, so the two parts cannot be confused
    digest.update(descriptors)
    return f"r{digest.hexdigest()[:12]}"
