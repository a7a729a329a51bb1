"""Where immutable revisions of definitions are kept."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.frozen import frozen


@frozen
class Revision:
    """An immutable version of a definition, with the descriptors it was checked against."""

    definition: str
    revision: str
    """Content address: a prefix of SHA-256 over source and descriptors."""
    source: str
    """The YAML text; a definition built in Python is stored as the YAML of the same tree."""
    descriptors: bytes
    """A serialised `google.protobuf.FileDescriptorSet`: every file the plan's types need."""
    created_at: float
    active: bool = False


class Catalogue(Protocol):
    """The store of revisions. Nothing in it is ever changed, except which revision of a definition is active."""

    async def put(self, revision: Revision) -> bool:
        """Keep a revision durably; return whether it is new. The first one of a definition becomes active."""
        ...

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        """Return a revision; the active one where none is named."""

    async def activate(self, definition: str, revision: str) -> bool:
        """Make a revision the one that new sagas start with; False where it does not exist."""
        ...

    async def active(self) -> Mapping[str, str]:
        """Return which revision of each definition is active, and nothing else of it."""
        ...

    async def definitions(self) -> Sequence[Revision]:
        """Return the active revision of every definition, by name."""
        ...

    async def revisions(self, definition: str) -> Sequence[Revision]:
        """Return every revision of a definition, newest first."""
        ...
