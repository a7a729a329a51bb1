"""The demo's processes: five services and the orchestrator, each a real program with its own log, started and killed.

::

    folder/
      saga.yaml            the orchestrator's configuration, as a person would write it
      epro_intake.yaml     the definition
      saga.sqlite          the journal
      data/                the services' databases and effect ledgers
      logs/                what each process wrote on standard error

A process is ready when it prints `listening HOST:PORT`. Children are in sessions of their own, so that Ctrl-C reaches
this program alone, which then stops them in order.
"""

import asyncio
import importlib.util
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import orchestrator
from orchestrator.cli.exits import Exit, Failure
from orchestrator.limits import DEMO_START_S_MAX, DEMO_STOP_S_MAX

SERVICES = ("validator", "scoring", "archive", "safety", "notifier")
DEFINITION = "epro_intake"


@dataclass(slots=True, kw_only=True)
class Program:
    """One running process."""

    name: str
    process: Process
    address: str = ""


@dataclass(slots=True, kw_only=True)
class Mesh:
    """All processes of one demo; leaving the context stops them."""

    folder: Path
    programs: dict[str, Program] = field(default_factory=dict[str, Program])

    async def __aenter__(self) -> Self:
        """Prepare the folder; nothing runs yet."""
        for name in ("data", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the orchestrator before the services it calls."""
        await asyncio.shield(self._stop_all())

    @property
    def server(self) -> str:
        """Return where the orchestrator listens."""
        return self.programs["orchestrator"].address

    @property
    def ledgers(self) -> Path:
        """Return the folder of the services' effect ledgers."""
        return self.folder / "data"

    async def start_services(self) -> None:
        """Start the five services at once and wait until each answers."""
        if importlib.util.find_spec("services") is None:
            raise Failure("the demo services are not installed; run the demo from a checkout, with `make demo`")
        data = str(self.folder / "data")
        await asyncio.gather(
            *(self._start(name, f"services.{name}", "--port", "0", "--data", data) for name in SERVICES)
        )

    async def start_orchestrator(self, port: int = 0) -> None:
        """Write the configuration and start the orchestrator on it; the same port and store after a kill."""
        config = self.folder / "saga.yaml"
        if not config.exists():
            config.write_text(self._configuration(), encoding="utf-8")
            (self.folder / f"{DEFINITION}.yaml").write_text(definition_source(), encoding="utf-8")
        await self._start("orchestrator", "orchestrator", "serve", "--config", str(config), "--port", str(port))

    async def kill_orchestrator(self) -> None:
        """End the orchestrator with SIGKILL: no farewell, nothing flushed."""
        process = self.programs["orchestrator"].process
        process.kill()
        await process.wait()

    def log_tail(self, name: str, lines: int = 5) -> str:
        """Return the last lines that a process wrote on standard error."""
        try:
            text = (self.folder / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])

    def _configuration(self) -> str:
        from orchestrator.config import to_yaml

        targets = {
            name: {"address": self.programs[name].address, "idempotent": True, "barrier": True} for name in SERVICES
        }
        values = {
            "api": {"port": 0},
            "http": {"port": 0},
            "store": "sqlite:saga.sqlite",
            "definitions": [f"{DEFINITION}.yaml"],
            "targets": targets,
        }
        return to_yaml(values)

    async def _start(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, *arguments),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                env=_environment(os.environ),
                start_new_session=True,
            )
        program = self.programs[name] = Program(name=name, process=process)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEMO_START_S_MAX):
                line = (await process.stdout.readline()).decode().split()
        except TimeoutError as late:
            why = f"{name} was not ready within {DEMO_START_S_MAX:.0f} s"
            raise Failure(f"{why}\n{self.log_tail(name)}") from late
        if len(line) < 2 or line[0] != "listening":  # noqa: PLR2004  (`listening HOST:PORT`)
            code = await self._ended(process)
            raise Failure(f"{name} did not start (exit code {code})\n{self.log_tail(name)}".rstrip(), Exit.FAILED)
        program.address = line[1]

    async def _stop_all(self) -> None:
        conductor = [program for name, program in self.programs.items() if name == "orchestrator"]
        others = [program for name, program in self.programs.items() if name != "orchestrator"]
        for group in (conductor, others):
            await _stop(group)

    async def _ended(self, process: Process) -> int | str:
        try:
            async with asyncio.timeout(DEMO_STOP_S_MAX):
                return await process.wait()
        except TimeoutError:
            return "none: it still runs"


async def _stop(programs: Sequence[Program]) -> None:
    """Ask politely, then not."""
    running = [program.process for program in programs if program.process.returncode is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(DEMO_STOP_S_MAX):
            await asyncio.gather(*(process.wait() for process in running))
    except TimeoutError:
        for process in running:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in running))


def definition_source() -> str:
    """Return the demo's definition: shipped inside an installed package, beside it in a checkout."""
    package = Path(orchestrator.__file__).parent
    for path in (
        package / "_definitions" / f"{DEFINITION}.yaml",
        package.parent / "compose" / "definitions" / f"{DEFINITION}.yaml",
    ):
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise Failure(f"{DEFINITION}.yaml is not part of this installation; run the demo from a checkout, with `make demo`")


def reports_file() -> Path:
    """Return the shipped input of the demo services, which is data to this package."""
    found = importlib.util.find_spec("services")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "data" / "reports.jsonl"
        if path.exists():
            return path
    raise Failure("the demo's reports are not part of this installation; run it from a checkout, with `make demo`")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the children's environment: nothing that configures another orchestrator, and the code that runs here."""
    theirs = {name: value for name, value in ours.items() if not name.startswith("ORCHESTRATOR_")}
    roots = [str(Path(orchestrator.__file__).parents[1]), ours.get("PYTHONPATH", "")]
    return {**theirs, "PYTHONPATH": os.pathsep.join(filter(None, roots)), "PYTHONUNBUFFERED": "1"}
