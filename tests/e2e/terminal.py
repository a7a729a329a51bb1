"""The program as a person types it: real processes, their output and their exit codes."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kit.mesh import ROOT, Mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One running mesh, and a terminal."""

    mesh: Mesh

    async def saga(self, *arguments: str, given: str = "") -> Ended:
        """Run the program as a person does."""
        environ = {"ORCHESTRATOR_SERVER": self.mesh.orchestrator.address}
        ended = await command(*arguments, given=given, folder=self.mesh.folder, environ=environ)
        assert "Traceback" not in ended.text
        assert "a bug" not in ended.text
        return ended

    def file(self, name: str, text: str) -> str:
        path = self.mesh.folder / name
        path.write_text(text)
        return str(path)


async def command(*arguments: str, folder: Path, given: str = "", environ: Mapping[str, str] | None = None) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "orchestrator", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        out, err = await process.communicate(given.encode())
    assert process.returncode is not None
    return Ended(code=process.returncode, out=out.decode(), err=err.decode())
