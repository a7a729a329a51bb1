"""Docker as the trial needs it: is it there, one project of it, and what runs in that."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND_S_MAX = 120.0
BUILD_S_MAX = 900.0
"""Wheels for two images, from a registry that may be far away."""
UP_S_MAX = 240
"""From nothing to health everywhere; a quarter of a minute on two cores."""
_BEGAN = time.monotonic()  # noqa: TID251  (a transcript tells how long things took)


class Broken(Exception):
    """The mesh did not do what it should; the text says what."""


def say(text: str) -> None:
    """Write a line of the transcript, with the seconds since it began."""
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}", flush=True)  # noqa: TID251  (as above)


def absence() -> str:
    """Return why no mesh can be run here; empty where one can."""
    if shutil.which("docker") is None:
        return "there is no `docker` on the path"
    if (info := _ran(["docker", "info", "--format", "{{json .ServerVersion}}"])).returncode:
        return f"no Docker engine answers ({info.stderr.strip().splitlines()[-1]}); DOCKER_HOST may name one"
    if _ran(["docker", "compose", "version"]).returncode:
        return "docker has no compose plugin"
    return ""


def versions() -> str:
    """Say what runs the mesh."""
    engine = _ran(["docker", "info", "--format", "{{.ServerVersion}}, {{.OperatingSystem}}, {{.NCPU}} cores"])
    plugin = _ran(["docker", "compose", "version", "--short"])
    return f"engine {engine.stdout.strip()}; compose {plugin.stdout.strip()}"


def docker(*arguments: str, within_s: float = COMMAND_S_MAX) -> str:
    """Run docker; return what it printed."""
    return _checked(["docker", *arguments], _ran(["docker", *arguments], within_s=within_s))


def has_image(name: str) -> bool:
    return _ran(["docker", "image", "inspect", name]).returncode == 0


def megabytes(image: str) -> int:
    return round(int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6)


@dataclass(slots=True, kw_only=True)
class Mesh:
    """One compose project of the trial's own, on ports of its own."""

    project: str
    file: Path
    services: Sequence[str]
    """Those that are started; others of the file cannot be had here."""
    overrides: Sequence[Path] = ()
    environ: Mapping[str, str] = field(default_factory=dict[str, str])

    def compose(self, *arguments: str, within_s: float = COMMAND_S_MAX, is_all: bool = False) -> str:
        """Run docker compose on the project; return what it printed, `is_all`: its notes too."""
        command = self.command(*arguments)
        ran = _ran(command, self.environ, within_s=within_s)
        return _checked(command, ran) + (ran.stderr if is_all else "")

    def command(self, *arguments: str) -> list[str]:
        files = [word for path in (self.file, *self.overrides) for word in ("--file", str(path))]
        return ["docker", "compose", "--project-name", self.project, *files, *arguments]

    def build(self) -> None:
        self.compose("build", *_builders(self.services), within_s=BUILD_S_MAX)

    def up(self) -> None:
        """Start everything, and wait until all say that they are healthy."""
        words = ("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(UP_S_MAX), *self.services)
        try:
            self.compose(*words, within_s=UP_S_MAX + 30)
        except Broken:
            print(self.compose("ps", "--all"), self.compose("logs", "--tail", "15"))
            raise

    def container(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def inside(self, service: str, *words: str) -> str:
        """Run a command in a service's container; return what it printed."""
        return self.compose("exec", "--no-TTY", service, *words)

    def facts(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service)))[0]
        return found

    def address(self, service: str, port: int) -> str:
        """Return where a port is published."""
        return self.compose("port", service, str(port)).strip()

    def down(self) -> None:
        """Remove everything, the volume too; and see that it is gone."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", within_s=COMMAND_S_MAX)
        mine = f"label=com.docker.compose.project={self.project}"
        left = [docker(kind, "ls", "--quiet", "--filter", mine).strip() for kind in ("volume", "network")]
        left.append(docker("ps", "--all", "--quiet", "--filter", mine).strip())
        if any(left):
            raise Broken(f"something is left of {self.project}: {left}")


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def _builders(services: Sequence[str]) -> list[str]:
    """One service of each of our images; the others have the same."""
    return [next(name for name in services if name.startswith("orchestrator")), "validator"]


def _ran(
    command: Sequence[str], environ: Mapping[str, str] | None = None, *, within_s: float = COMMAND_S_MAX
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired as late:
        raise Broken(f"{' '.join(command)} took more than {within_s:g} s") from late


def _checked(command: Sequence[str], ran: "subprocess.CompletedProcess[str]") -> str:
    if ran.returncode:
        raise Broken(f"{' '.join(command)} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-4_000:]}")
    return ran.stdout
