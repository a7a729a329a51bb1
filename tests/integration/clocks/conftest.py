"""What sets the clocks of real processes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.figures import keep


@pytest.fixture(scope="session")
def set_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        why = "a process's clock is set with a C compiler and LD_PRELOAD, and here is none"
        keep("clocks_process", skipped=why)
        pytest.skip(why)
    library = tmp_path_factory.mktemp("set_clock") / "set_clock.so"
    source = Path(__file__).parent / "set_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lm"], check=True)
    return library
