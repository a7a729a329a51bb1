"""Compose files as values: anchors merged, variables replaced by their defaults, paths beside the file they are in."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "compose"
FULL = FOLDER / "compose.yaml"
SMALL = FOLDER / "compose.sqlite.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a container sees at a path: a file or folder of this repository, or a named volume."""

    source: str
    at: str
    is_read_only: bool

    @property
    def path(self) -> Path | None:
        """Return the file or folder; None for a volume."""
        return (FOLDER / self.source).resolve() if self.source.startswith((".", "/")) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, read as far as the rules need it."""

    name: str
    tree: Tree

    @property
    def image(self) -> str:
        return str(self.tree.get("image", ""))

    @property
    def repository(self) -> str:
        """Return its image without the tag."""
        return self.image.partition("@")[0].partition(":")[0]

    @property
    def is_ours(self) -> bool:
        return "build" in self.tree

    @property
    def environment(self) -> dict[str, str]:
        return {key: str(value) for key, value in self.tree.get("environment", {}).items()}

    @property
    def words(self) -> list[str]:
        """Return its command line, as far as the file says it."""
        return [str(word) for key in ("entrypoint", "command") for word in self.tree.get(key, [])]

    @property
    def mounts(self) -> list[Mount]:
        found: list[Mount] = []
        for text in self.tree.get("volumes", []):
            source, at, *mode = str(text).split(":")
            found.append(Mount(source=source, at=at, is_read_only=mode == ["ro"]))
        return found

    @property
    def check(self) -> list[str] | None:
        """Return the health check's command; None where the file turns it off or says none."""
        said = self.tree.get("healthcheck", {})
        test = said.get("test")
        return [str(word) for word in test] if test and not said.get("disable") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One compose file."""

    tree: Tree
    services: Mapping[str, Service] = field(default_factory=dict[str, Service])

    @property
    def secrets(self) -> dict[str, Path]:
        """Return the file of each secret that is in one."""
        files = {name: each["file"] for name, each in self.tree.get("secrets", {}).items() if each and "file" in each}
        return {name: (FOLDER / str(file)).resolve() for name, file in files.items()}


def project(tree: Tree) -> Project:
    """Read a tree."""
    services = {name: Service(name=name, tree=each) for name, each in tree.get("services", {}).items()}
    return Project(tree=tree, services=services)


def tree_of(path: Path) -> Tree:
    """Return a compose file's content; every call gives a new one."""
    return cast("Tree", _filled(yaml_of(path)))


def yaml_of(path: Path) -> Any:
    """Return a YAML file's content as plain values."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def seconds(text: object) -> float:
    """Return a duration of a compose file in seconds; infinite where it is none that is used here."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", str(text))
    return int(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]] if found else math.inf


def size(text: object) -> float:
    """Return a size of a compose file in bytes; 0, which is no bound, where it is none that is used here."""
    found = re.fullmatch(r"(\d+)([mg])", str(text))
    return int(found[1]) * {"m": 2**20, "g": 2**30}[found[2]] if found else 0


def as_mounted(service: Service, secrets: Mapping[str, Path], root: Path) -> None:
    """Lay the files that a container is given below a folder, where the container has them below `/`."""
    given = {mount.at: mount.path for mount in service.mounts if mount.path is not None}
    given |= {f"/run/secrets/{name}": secrets[name] for name in service.tree.get("secrets", [])}
    for at, source in given.items():
        to = root / at.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.symlink_to(source)


def _filled(value: Any) -> Any:
    """Replace `${NAME:-default}` by the default, as a user who sets nothing gets it."""
    match value:
        case str():
            return _VARIABLE.sub(lambda found: found["default"] or "", value)
        case dict():
            return {key: _filled(each) for key, each in value.items()}
        case list():
            return [_filled(each) for each in value]
        case _:
            return value
