"""Putting a mistake into one module while it is imported: the file on the disk stays as it is."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "orchestrator"
ROOT = Path(__file__).parents[2]


class Misplanted(Exception):
    """The table does not fit the source any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A mistake of one to three lines that a good engineer could make."""

    name: str
    breaks: str
    """The rules and invariants that it breaks, as the design numbers them."""
    module: str
    """Where it is made, after `orchestrator.`."""
    says: str
    """What the program does then."""
    old: str
    """What stands in the module, exactly once."""
    new: str
    is_of_clusters: bool = False
    """One process alone has nothing of it: it is sought where several nodes share a database."""

    def spoil(self, source: str) -> str:
        """Return the module with the mistake in it; raise `Misplanted` where it does not fit."""
        count = source.count(self.old)
        if count != 1:
            raise Misplanted(f"defect {self.name}: its old snippet occurs {count} times in {self.path}, not once")
        return source.replace(self.old, self.new)

    @property
    def path(self) -> str:
        """The module's file, from the project's root."""
        return f"{PACKAGE}/{self.module.replace('.', '/')}.py"


def plant(defect: Defect) -> None:
    """Have the defect's module imported with the mistake; raise `Misplanted` where that comes too late."""
    loaded = [name for name in sys.modules if name.split(".")[0] == PACKAGE]
    if loaded:
        raise Misplanted(f"defect {defect.name} cannot be planted any more: {loaded[0]} has been imported")
    sys.meta_path.insert(0, _Planter(defect))


class _Planter(MetaPathFinder):
    def __init__(self, defect: Defect) -> None:
        self._defect = defect

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != f"{PACKAGE}.{self._defect.module}":
            return None
        file = str(ROOT / self._defect.path)
        return importlib.util.spec_from_file_location(fullname, file, loader=_Spoiling(fullname, file, self._defect))


class _Spoiling(SourceFileLoader):
    def __init__(self, fullname: str, path: str, defect: Defect) -> None:
        super().__init__(fullname, path)
        self._defect = defect

    def get_code(self, fullname: str) -> CodeType:
        """Compile it anew each time: what lies compiled on the disk is the sound one."""
        source = self._defect.spoil(Path(self.path).read_text(encoding="utf-8"))
        return compile(source, self.path, "exec", dont_inherit=True)
