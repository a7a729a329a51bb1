"""The gates themselves close: what the configuration promises happens to a project that breaks it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=50)


def run_test(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under this project's pytest configuration."""
    (folder / "test_it.py").write_text(text)
    configured = ("-c", ROOT / "pyproject.toml", f"--rootdir={folder}", "-p", "no:cacheprovider")
    return run(sys.executable, "-m", "pytest", *configured, folder / "test_it.py", cwd=folder)


def test_a_good_test_passes(tmp_path: Path) -> None:
    result = run_test(tmp_path, "async def test_it():\n    assert True\n")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("async def f(): ...\ndef test_it():\n    f()\n", "was never awaited"),
        ("import warnings\ndef test_it():\n    warnings.warn('old')\n", "UserWarning: old"),
        ("import pytest\n@pytest.mark.sometimes\ndef test_it(): ...\n", "'sometimes' not found"),
        ("import pytest\n@pytest.mark.xfail\ndef test_it(): ...\n", "XPASS(strict)"),
        ("import threading\ndef test_it():\n    t = threading.Thread(target=int, args='x')\n    t.start(); t.join()\n",
         "UnhandledThreadException"),
        ("def test_it():\n    open('/dev/null')\n", "unclosed file"),
    ],
)  # fmt: skip
def test_a_careless_test_fails(tmp_path: Path, text: str, said: str) -> None:
    result = run_test(tmp_path, text)
    assert result.returncode != 0, result.stdout
    assert said in result.stdout + result.stderr


def test_pages_that_follow_from_code_are_current() -> None:
    result = run(sys.executable, ROOT / "docs/generate.py", "--check", cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_make_alone_lists_what_it_can_do() -> None:
    result = run("make", cwd=ROOT)
    assert result.returncode == 0, result.stderr
    for verb in ("demo", "test", "check", "bench", "protos", "lock", "clean"):
        assert f"make {verb} " in result.stdout


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "python3 is not on the path: install Python 3.11 or newer"),
        ('case "$2" in *version_info*) exit 1;; esac; echo Python 3.9.2', "Python 3.9.2 is too old: Python 3.11"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "run 'apt install python3-venv'"),
    ],
)
def test_a_python_that_cannot_serve_is_told_in_one_line(tmp_path: Path, python: str | None, said: str) -> None:
    for name in ("pyproject.toml", ".ci/lock/runtime.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    interpreter = tmp_path / "python3"
    if python is not None:
        interpreter.write_text(f"#!/bin/sh\n{python}\n")
        interpreter.chmod(0o755)
    result = run("make", f"--file={ROOT / 'Makefile'}", "demo", f"PYTHON={interpreter}", cwd=tmp_path)
    assert result.returncode != 0
    assert len(result.stdout.splitlines()) == 1
    assert said in result.stdout
