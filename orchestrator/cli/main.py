"""The `saga` program: its commands by name, and how every ending becomes an exit code and one clear line.

Command modules are imported when their command runs: `saga --help` must answer before a reader's eye has moved, and
gRPC or pydantic alone take longer than that to import.
"""

import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from types import TracebackType

import click

import orchestrator
from orchestrator.cli import streams
from orchestrator.cli.exits import MEANINGS, Exit, Failure
from orchestrator.errors import ConfigError, OrchestratorError

# name -> (module:attribute, the line that `saga --help` shows). In the order a newcomer needs them.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "Watch a thousand reports go through five services and a crash."),
    "serve": ("serve:serve", "Run the orchestrator."),
    "check": ("check:check", "Check definitions without a server."),
    "explore": ("exploring:explore", "Try every way a definition can go."),
    "simulate": ("exploring:simulate", "Play a saga in virtual time with scripted replies."),
    "sim": ("sim:sim", "Run sagas in a world that fails, seed by seed."),
    "start": ("sagas:start", "Start a saga."),
    "get": ("sagas:get", "Show a saga as it stands."),
    "list": ("sagas:list_", "List sagas."),
    "count": ("sagas:count", "Count sagas."),
    "wait": ("sagas:wait", "Wait for the end of a saga."),
    "watch": ("events:watch", "Show a saga's events as they happen."),
    "history": ("events:history", "Show all events of a saga."),
    "trace": ("events:trace", "Draw a saga's waterfall."),
    "signal": ("sagas:signal", "Hand a saga a signal."),
    "cancel": ("sagas:cancel", "Cancel a saga: undo what was done."),
    "explain": ("explaining:explain", "Say why a saga is not further, and what to do."),
    "undo-plan": ("explaining:undo_plan", "Show what undoing a saga would call."),
    "attention": ("repairing:attention", "List the sagas that need a person."),
    "repair": ("repairing:repair", "Retry, resolve, skip, pause: what only a person may."),
    "audit": ("repairing:audit", "List what people did to sagas, and why."),
    "health": ("health:health", "Say whether a server takes work, for health checks."),
    "load": ("load:load", "Send the demo's reports to a server that runs."),
    "top": ("top:top", "Watch live processes: rates, targets, who needs a person."),
    "cluster": ("cluster:cluster", "Show the processes over one store, and who may write what."),
    "debug": ("debug:debug", "Look into a live process: what it has going on, what is wrong."),
    "definitions": ("definitions:definitions", "Create, list and activate definitions."),
    "store": ("store:store", "Move a store from a file to PostgreSQL."),
    "verify": ("verify:verify", "Hold a journal and ledgers against the invariants."),
    "verify-participant": ("participant:verify_participant", "Try whether a service keeps what sagas rely on."),
    "config": ("serve:config", "Show the settings in force, or their schema."),
}


COMMAND_CHARS = 11
"""Width of the column of names, so that every line fits beside it."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"orchestrator.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name for an unknown command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `saga {close[0]}`?" if close else "see `saga --help`"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            rows = [(name, line) for name, (_, line) in COMMANDS.items()]
            formatter.write_dl(rows, col_max=COMMAND_CHARS)  # the line of a longer name stands below it

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Publish the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(orchestrator.__version__, prog_name="saga", message="%(prog)s %(version)s")
def saga() -> None:
    """Drive sagas over gRPC services: start them, watch them, and see what was done and undone.

    Commands talk to the server that their own --server names (`saga get ID --server HOST:PORT`), or else
    ORCHESTRATOR_SERVER; 127.0.0.1:7400 by default. A first look: `saga demo`.
    """


def main() -> None:
    """Run the program and leave with its exit code."""
    streams.settle()
    sys.excepthook = _report_bug
    code = run(sys.argv[1:])
    streams.finish()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code, every expected failure told on standard error."""
    try:
        if not _has_time():
            raise ConfigError("this machine's clock shows a time after the year 2261: set it and try again")
        result = saga.main(list(arguments), prog_name="saga", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        streams.say("saga: interrupted")
        return Exit.INTERRUPTED
    except click.UsageError as wrong:
        path = wrong.ctx.command_path if wrong.ctx else "saga"
        streams.say(f"saga: {wrong.format_message()}\nTry `{path} --help`.")
        return Exit.USAGE
    except click.ClickException as failed:
        streams.say(f"saga: {failed.format_message()}")
        return failed.code if isinstance(failed, Failure) else failed.exit_code
    except OrchestratorError as failed:
        streams.say(f"saga: {failed.message}")
        return Exit.CONFIG if isinstance(failed, ConfigError) else Exit.FAILED
    except BrokenPipeError:
        # the reader of a pipe has what it wanted (`saga list | head`); without this the interpreter complains at exit
        streams.give_up(sys.stdout.fileno())
        return Exit.OK
    except OSError as failed:
        return _refused_by_the_system(failed)
    except UnicodeEncodeError:
        if (given := _no_text(arguments)) is None:
            raise
        streams.say(f"saga: {given} holds bytes that are no UTF-8; write it in UTF-8")
        return Exit.USAGE
    return result if isinstance(result, int) else Exit.OK


def _has_time() -> bool:
    """Return whether the clock can be read: Python counts in 64 bits of nanoseconds."""
    try:
        time.time()  # noqa: TID251  (whether it can be read, not what it shows)
    except OverflowError:
        return False
    return True


def _refused_by_the_system(failed: OSError) -> Exit:
    """Say what a disk, a terminal or a folder refused: of the standard output, no name is known."""
    if os.environ.get("SAGA_TRACEBACK"):
        traceback.print_exception(failed)
    why = failed.strerror or str(failed)
    if failed.filename is None:
        streams.say(
            f"saga: the answer could not be written ({why}), though what was asked for may be done; free the disk or "
            f"write elsewhere"
        )
    else:
        streams.say(f"saga: {failed.filename!r} cannot be used ({why}); check its permissions or give another path")
    return Exit.FAILED


def _no_text(arguments: Iterable[str]) -> str | None:
    """Return which argument or variable is no text, with its bytes as escapes; None where all are."""
    variables = [(name, value) for name, value in os.environ.items() if name.startswith("ORCHESTRATOR_")]
    given = [("the argument", each) for each in arguments] + variables
    found = next(((name, value) for name, value in given if not streams.is_text(value)), None)
    return None if found is None else f"{found[0]} {os.fsencode(found[1])!r}".replace(" b'", " '").replace(' b"', ' "')


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say that it is a bug, in one line; the traceback is for those who ask for it."""
    if os.environ.get("SAGA_TRACEBACK"):
        traceback.print_exception(kind, error, trace)
    streams.say(f"saga: a bug: {kind.__name__}: {error}; please report it with the output of SAGA_TRACEBACK=1 saga …")
