"""Services in another language, as real processes with packages of their own lock file."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICES = Path(__file__).parent / "node"
_NO_REGISTRY = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTCACHED")


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The services beside their installed packages."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not on the path, so participants in another language were not tried")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(SERVICES, folder, dirs_exist_ok=True)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if installed.returncode != 0 and (why := _NO_REGISTRY.search(installed.stderr)):
        pytest.skip(f"npm reaches no registry ({why[0]}), so participants in another language were not tried")
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture(scope="module")
def hotel(node_folder: Path) -> Iterator[str]:
    """The address of a service that has never heard of sagas."""
    with _running(node_folder, "hotel.js") as address:
        yield address


@pytest.fixture(scope="module")
def box_office(node_folder: Path) -> Iterator[str]:
    """The address of a service that keeps the barrier."""
    with _running(node_folder, "theatre.js") as address:
        yield address


@contextlib.contextmanager
def _running(folder: Path, program: str) -> Iterator[str]:
    with subprocess.Popen(["node", program], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening ").strip()
        process.terminate()
