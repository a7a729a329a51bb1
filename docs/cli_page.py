"""Turns the command tree of `saga` into the reference page docs/cli.md."""

from collections.abc import Iterator

import click

from orchestrator.cli.exits import MEANINGS
from orchestrator.cli.main import COMMANDS, saga

HEAD = """\
# The `saga` command

<!-- Written by docs/cli_page.py from orchestrator/cli: change that, then run `make docs`. -->

`python -m orchestrator` is the same. Commands that talk to a server find it at `--server`, else at
`ORCHESTRATOR_SERVER`, else at 127.0.0.1:7400. Shells complete commands and options after
`eval "$(_SAGA_COMPLETE=bash_source saga)"` (or `zsh_source`, `fish_source`).

## What is printed where

Standard output carries the answer alone; notes, progress and errors go to standard error. On a terminal there is
colour (`NO_COLOR` turns it off) and progress is a bar; in a pipe everything is plain lines.

`-o json` and `-o yaml` print the API's own messages (docs/api.md) in proto3 JSON, fields under the names of the
`.proto` files and every field present; 64-bit numbers are strings, as that mapping says. Lists are one array; `saga
watch` prints one object a line. `-q` prints names only, and no progress. `saga demo --json` prints one object with the
keys `reports, completed, alerted, refused, compensated, needs_attention, lost, duplicated_effects, left_undone, kills,
seconds`; `alerted` counts those of the completed that sent an alert.

An error is one line with the next move, and for a wrong field or definition one more line for each finding. The
traceback of a bug is shown with `SAGA_TRACEBACK=1`.

## Exit codes

| code | meaning |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    parts += [f"| {int(code)} | {meaning} |\n" for code, meaning in MEANINGS.items()]
    parts.append("\n## Commands\n")
    parts += [f"\n- [`saga {name}`](#saga-{name}): {line}" for name, (_, line) in COMMANDS.items()]
    parts.append("\n")
    root = click.Context(saga, info_name="saga", help_option_names=["-h", "--help"])
    for name in COMMANDS:
        command = saga.get_command(root, name)
        assert command is not None
        parts += _command(command, click.Context(command, info_name=name, parent=root))
    return "".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n\n"
    yield f"{_paragraphs(command.help or '')}\n"
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield from _usage(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, click.Context(below, info_name=name, parent=context))


def _usage(command: click.Command, context: click.Context) -> Iterator[str]:
    pieces = [] if isinstance(command, click.Group) else command.collect_usage_pieces(context)
    usage = " ".join([context.command_path, *pieces])
    yield f"\n    {usage}\n"
    records = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
    if records:
        yield "\n| option | |\n|---|---|\n"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |\n" for names, text in records)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
