import os
import subprocess
import sys

import click
import pytest

import orchestrator
from orchestrator.cli import main
from orchestrator.cli.exits import MEANINGS, Exit
from orchestrator.errors import ConfigError

# The promise is 200 ms; a loaded machine that runs other tests gets ten times that.
HELP_S_MAX = 2.0


def run_module(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def test_help_is_quick_and_lists_every_command() -> None:
    began = os.times()
    shown = run_module("--help")
    ended = os.times()
    took = sum(ended[2:4]) - sum(began[2:4])  # the processor's time of what has run
    assert shown.returncode == 0
    assert took < HELP_S_MAX
    for name, (_, line) in main.COMMANDS.items():
        assert name in shown.stdout
        assert line in shown.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from orchestrator.cli.main import run; run(['--help']);"
        "print(sorted({'grpc', 'pydantic', 'rich', 'google.protobuf', 'ruamel', 'asyncio'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s() -> None:
    assert run_module("--version").stdout == f"saga {orchestrator.__version__}\n"


def test_the_command_table_says_what_each_command_says_of_itself() -> None:
    context = click.Context(main.saga)
    for name, (_, line) in main.COMMANDS.items():
        command = main.saga.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200)
        assert line.endswith(".")
        assert len(line) <= 66, "one line of the help at 80 columns"


def test_every_exit_code_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MEANINGS) == set(Exit)
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for code in Exit:
        assert f"  {int(code)} " in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["strat"], "saga: no command 'strat'; did you mean `saga start`?\nTry `saga --help`.\n"),
        (["qqqq"], "saga: no command 'qqqq'; see `saga --help`\nTry `saga --help`.\n"),
        (["--"], "saga: Missing command.\nTry `saga --help`.\n"),
        (["definitions", "--"], "saga: Missing command.\nTry `saga definitions --help`.\n"),
        (["get"], "saga: Missing argument 'SAGA_ID'.\nTry `saga get --help`.\n"),
        (
            ["list", "--limit", "0"],
            "saga: Invalid value for '--limit': 0 is not in the range x>=1.\nTry `saga list --help`.\n",
        ),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_next_move(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main.run(arguments) == Exit.USAGE
    assert capsys.readouterr() == ("", line)


def test_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main.saga, "main", _raiser(KeyboardInterrupt()))
    assert main.run([]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "saga: interrupted\n"


def test_a_wrong_setting_ends_with_78(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main.saga, "main", _raiser(ConfigError("api.port: 1 is taken")))
    assert main.run([]) == Exit.CONFIG
    assert capsys.readouterr().err == "saga: api.port: 1 is taken\n"


def test_a_bug_is_one_line_and_shows_its_traceback_on_demand_only() -> None:
    code = (
        "from orchestrator.cli import main\n"
        "def broken(*a, **k): raise KeyError('x')\n"
        "main.saga.main = broken\n"
        "main.main()\n"
    )
    for variable, expected in (("", False), ("1", True)):
        ended = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SAGA_TRACEBACK": variable},
        )
        assert ended.returncode == 1
        assert ("Traceback" in ended.stderr) is expected
        assert "saga: a bug: KeyError: 'x'; please report it" in ended.stderr


def test_a_reader_that_leaves_a_pipe_early_sees_no_complaint() -> None:
    command = f"{sys.executable} -m orchestrator config schema | head -n 1"
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert shown.stdout == "{\n"
    assert shown.stderr == ""


def _raiser(error: BaseException) -> object:
    def raising(*_: object, **__: object) -> None:
        raise error

    return raising
