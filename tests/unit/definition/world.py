"""A world to check definitions against: the demo services' real descriptors, and facts an expression may read."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from google.longrunning import operations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from orchestrator.definition import Revisions
from orchestrator.definition.diagnostics import Diagnostic
from orchestrator.errors import TargetUnreachable
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.methods import TargetFacts
from orchestrator.values import Payload
from services.epro.v1 import (
    archive_service_pb2,
    notifier_service_pb2,
    safety_service_pb2,
    scoring_service_pb2,
    validator_service_pb2,
)
from tests.unit.definition.shop import as_set, jobs_file, old_file, shop_file, stock_file

EPRO: Mapping[str, FileDescriptor] = {
    "validator": validator_service_pb2.DESCRIPTOR,
    "scoring": scoring_service_pb2.DESCRIPTOR,
    "archive": archive_service_pb2.DESCRIPTOR,
    "safety": safety_service_pb2.DESCRIPTOR,
    "notifier": notifier_service_pb2.DESCRIPTOR,
}


def descriptor_set(*roots: FileDescriptor) -> bytes:
    """Return the files and all they import, as a reflection client would give them."""
    found: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in found:
            for dependency in file.dependencies:
                add(dependency)
            proto = FileDescriptorProto()
            file.CopyToProto(proto)
            found[file.name] = proto

    for root in roots:
        add(root)
    return FileDescriptorSet(file=found.values()).SerializeToString()


def with_imports(file: FileDescriptorProto, *imports: FileDescriptor) -> bytes:
    """Return a file that has no generated code, and what it imports."""
    found = FileDescriptorSet.FromString(descriptor_set(*imports))
    found.file.append(file)
    return found.SerializeToString()


def every_target() -> dict[str, bytes | None]:
    """Return the demo's services, a shop, one that is down, and one that has another file of the shop's name."""
    other = shop_file()
    other.message_type[0].name = "Cash"
    other.message_type[1].field[2].type_name = ".shop.v1.Cash"
    other.message_type[2].field[12].type_name = ".shop.v1.Cash"
    other.message_type[2].field[30].type_name = ".shop.v1.Cash"
    other.service[0].name = "Kiosk"
    return {
        **{target: descriptor_set(file) for target, file in EPRO.items()},
        "shop": as_set(shop_file()),
        "old": as_set(old_file()),
        "stock": as_set(stock_file()),
        "jobs": with_imports(jobs_file(), operations_pb2.DESCRIPTOR),
        "kiosk": as_set(other),
        "offline": None,
        "garbled": b"\xff\xff\xff",
    }


@dataclass
class FixedMethods:
    """`ports.methods.Methods` over given descriptor sets; a target without one cannot be reached."""

    sets: dict[str, bytes | None] = field(
        default_factory=lambda: {target: descriptor_set(file) for target, file in EPRO.items()}
    )
    declared: dict[str, TargetFacts] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def targets(self) -> Sequence[str]:
        return tuple(self.sets)

    def facts(self, target: str) -> TargetFacts | None:
        return self.declared.get(target) or (TargetFacts(name=target) if target in self.sets else None)

    async def descriptors(self, target: str) -> bytes:
        self.asked.append(target)
        found = self.sets[target]
        if found is None:
            raise TargetUnreachable("connection refused")
        return found


@dataclass
class DictCatalogue:
    """`ports.catalogue.Catalogue` in memory."""

    kept: list[Revision] = field(default_factory=list)
    activated: dict[str, str] = field(default_factory=dict)

    def _shown(self, one: Revision) -> Revision:
        return Revision(
            definition=one.definition,
            revision=one.revision,
            source=one.source,
            descriptors=one.descriptors,
            created_at=one.created_at,
            active=self.activated[one.definition] == one.revision,
        )

    async def put(self, revision: Revision) -> bool:
        if await self.get(revision.definition, revision.revision):
            return False
        self.kept.append(revision)
        self.activated.setdefault(revision.definition, revision.revision)
        return True

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        wanted = revision or self.activated.get(definition, "")
        found = (one for one in self.kept if (one.definition, one.revision) == (definition, wanted))
        return next((self._shown(one) for one in found), None)

    async def activate(self, definition: str, revision: str) -> bool:
        if await self.get(definition, revision) is None:
            return False
        self.activated[definition] = revision
        return True

    async def active(self) -> Mapping[str, str]:
        return dict(self.activated)

    async def definitions(self) -> Sequence[Revision]:
        return [self._shown(one) for one in self.kept if self.activated[one.definition] == one.revision]

    async def revisions(self, definition: str) -> Sequence[Revision]:
        return [self._shown(one) for one in reversed(self.kept) if one.definition == definition]


class FixedClock:
    """`ports.clock.Clock` that stands still."""

    def now(self) -> float:
        return 1_000.0

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        return UUID(int=7)


@dataclass
class FixedFacts:
    """`saga.plan.Facts` as given."""

    input: Payload
    replies: Mapping[str, Payload] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    own_reply: Payload | None = None
    index: int | None = None
    item: object = None
    many: Mapping[str, Sequence[Payload]] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    saga_id: SagaId = SagaId("report-1")
    uid: UUID = UUID(int=5)
    started_at: float = 1_700_000_000.25

    def reply_of(self, step: StepId) -> Payload | None:
        return self.replies.get(step)

    def replies_of(self, step: StepId) -> Sequence[Payload]:
        return self.many.get(step, ())

    def applied_count(self, step: StepId) -> int:
        return len(self.many.get(step, ()))

    def failed_count(self, step: StepId) -> int:
        return self.failed.get(step, 0)

    def status_of(self, step: StepId) -> str:
        return self.statuses.get(step, "APPLIED" if step in self.replies else "PENDING")


def findings_of(source: str, file: str = "saga.yaml") -> Sequence[Diagnostic]:
    """Check a text against every target; nothing is kept."""
    revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())
    _, found = asyncio.run(revisions.create_revision(source, file, validate_only=True))
    return found
