"""The commands that read settings: serve, and config, which shows what serve would use."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import streams
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.session import formatted
from orchestrator.errors import DefinitionInvalid
from orchestrator.stacks import show_on_signal

if TYPE_CHECKING:
    from orchestrator.config import Loaded

logger = logging.getLogger("orchestrator.cli.serve")

# flag -> (dotted key, how it is shown, help). The generic --set reaches every other key.
FLAGS: dict[str, tuple[str, str, str]] = {
    "--host": ("api.host", "ADDRESS", "Address that the API binds."),
    "--port": ("api.port", "PORT", "Port of the gRPC API; 0 takes a free one."),
    "--http-port": ("http.port", "PORT", "Port of health and /metrics; 0 takes a free one."),
    "--store": (
        "store",
        "URL",
        "Where the journal lives: sqlite:PATH, postgres://USER@HOST/DATABASE, or memory: for trials.",
    ),
    "--grace": ("grace_s", "SECONDS", "How long calls in flight get after SIGTERM."),
    "--log-level": ("log.level", "LEVEL", "debug, info, warning or error."),
    "--log-format": ("log.format", "FORMAT", "text or json."),
}


def with_config(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command `--config` and `--set`, as `file` and `settings`."""
    decorated = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting by its dotted name; repeatable."
    )(command)
    return click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        envvar="ORCHESTRATOR_CONFIG",
        show_envvar=True,
        metavar="FILE",
        help="YAML file with settings; see docs/configuration.md.",
    )(decorated)


def with_settings(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command `with_config`, and a flag of its own for each common setting."""
    decorated = click.option(
        "--definition",
        "definitions",
        multiple=True,
        metavar="PATH",
        help="A YAML definition, or a folder of them, to load and activate at start; repeatable.",
    )(with_config(command))
    for flag, (_, metavar, text) in reversed(FLAGS.items()):
        decorated = click.option(flag, metavar=metavar, help=text)(decorated)
    return decorated


@click.command()
@with_settings
def serve(*, file: Path | None, definitions: Sequence[str], settings: Sequence[str], **flags: str | None) -> int | None:
    """Run the orchestrator.

    Settings come from the file, then ORCHESTRATOR_* variables (ORCHESTRATOR_API__PORT=7400), then flags; later ones
    win, and an unknown key is an error (exit code 78). SIGTERM or Ctrl-C drains: no new sagas, calls in flight get
    --grace seconds, then the process ends; a second signal ends it at once. Nothing that was acknowledged is lost
    either way.
    """
    show_on_signal()  # first of all: what is loaded next takes a while, and until here the signal ends the process
    gc.disable()  # until `bootstrap.run` calms it: what is loaded stays, and a look at it takes a tenth of the start
    try:
        return _serve(load_settings(file, definitions, settings, flags))
    finally:
        gc.enable()


def _serve(loaded: "Loaded") -> int:
    from orchestrator import bootstrap
    from orchestrator.telemetry.logs import LogFormat, configure_logging, speaker

    log = loaded.settings.log
    source = speaker(os.environ, loaded.settings.cluster.shown_name())
    configure_logging(LogFormat.JSON if log.format == "json" else LogFormat.HUMAN, log.level.upper(), None, source)
    try:
        return bootstrap.run(loaded.settings, announce)
    except DefinitionInvalid as invalid:
        raise Failure("\n".join((invalid.message, *invalid.findings)), Exit.CONFIG) from invalid


def announce(api_address: str, http_address: str) -> None:
    """Say where the server listens: one line for programs that wait for it, one for people.

    Sagas do not wait for whoever reads: where it cannot be said, the log says so.
    """
    try:
        echo(f"listening {api_address}")
    except OSError as lost:
        streams.give_up(sys.stdout.fileno())
        logger.warning("standard output took no word of where the API listens (%s); it listens", lost.strerror)
    note(f"health and metrics at http://{http_address}; stop with Ctrl-C")


@click.group()
def config() -> None:
    """Show the settings in force, or their schema."""


@config.command()
@with_settings
@formatted
def show(
    printer: Printer,
    *,
    file: Path | None,
    definitions: Sequence[str],
    settings: Sequence[str],
    **flags: str | None,
) -> None:
    """Show every setting as `saga serve` with the same flags would use it, and where it came from."""
    loaded = load_settings(file, definitions, settings, flags)
    values = loaded.settings.model_dump(mode="json")
    if not printer.is_table:
        printer.values(values)
        return
    rows = [(key, value, _origin(loaded, key)) for key, value in _flat(values, "")]
    printer.columns(("setting", "value", "from"), rows)


@config.command()
@formatted
def schema(printer: Printer) -> None:
    """Print the JSON Schema of a configuration file, for editors."""
    from orchestrator.config import Settings

    values = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    (printer if not printer.is_table else Printer(format="json")).values(values)


def load_settings(
    file: Path | None,
    definitions: Sequence[str],
    settings: Sequence[str],
    flags: Mapping[str, str | None],
) -> "Loaded":
    """Read all layers; raise `ConfigError` with every mistake."""
    from orchestrator.config import Flag, load

    given = []
    for flag, (key, _, _) in FLAGS.items():
        value = flags.get(flag.removeprefix("--").replace("-", "_"))
        if value is not None:
            given.append(Flag(name=flag, key=key, value=value))
    if definitions:
        given.append(Flag(name="--definition", key="definitions", value=list(definitions)))
    for text in settings:
        key, found, value = text.partition("=")
        if not found:
            raise click.UsageError(f"--set {text}: write KEY=VALUE, e.g. --set grace_s=5")
        given.append(Flag(name=f"--set {key}", key=key, value=value))
    return load(file, os.environ, given)


def _flat(value: object, at: str) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, below in value.items() for pair in _flat(below, f"{at}.{key}" if at else str(key))]
    if value is None or value in ({}, []):
        return [(at, "-")]
    return [(at, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _origin(loaded: "Loaded", key: str) -> str:
    """Return what set a key, or the section it is in."""
    while key:
        if key in loaded.origins:
            return loaded.origins[key]
        key = key.rpartition(".")[0]
    return "default"
