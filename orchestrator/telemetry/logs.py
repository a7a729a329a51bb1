"""Log lines: one record is one line, for a person or for a machine, and no text in it can forge another line.

::

    a call of logging ──> Lines (the one handler) ──> known to be news? ──> said too often? ──> format ──> the stream
                                                                                                  │
                                                    what the moment is about (`logscope`) ────────┤
                                                    what the call site adds (`extra`) ────────────┘

A line names the saga or the request it is about without being told; a call site outside of a saga's turn says it with
`extra=of_saga(…)`. `FIELDS` are all the names there are.

Levels are a promise (`docs/logs.md`): CRITICAL, the process stops; ERROR, somebody must act; WARNING, something is
wrong and either heals itself or should be looked at in working hours; INFO, a fact of the process's life, never one
line per saga; DEBUG, one line per decision. Payloads are in no line of any level, nor is what a library says of one.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO

from orchestrator import __version__, logscope
from orchestrator.limits import LOG_ALIKE_LINES_MAX, LOG_LINE_CHARS_MAX
from orchestrator.telemetry.names import SCOPE
from orchestrator.telemetry.repeats import Left, Repeats
from orchestrator.telemetry.tracebacks import headline, told

_GRPC_SERVER = "grpc._cython.cygrpc"
_ANSWER_NOT_WRITTEN = "ExecuteBatchError raised in core by servicer method"
_METADATA_NO_TEXT = "Invalid encoding on "
_OURS = "orchestrator"
_TASK = re.compile(r"name='([^']*)'")
_NO_WORD = re.compile(r'[ "=]')
_WORK = re.compile(r"^Executing <.*> took ")

FIELDS: Mapping[str, str] = {
    "at": "when, in UTC, to the millisecond",
    "level": "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
    "severity_number": "the level as OpenTelemetry counts: 5, 9, 13, 17 or 21",
    "service": "who says it: `OTEL_SERVICE_NAME` as in spans, or `saga-orchestrator`",
    "version": "of the orchestrator",
    "node": "which process says it: `cluster.name`, or the host's name",
    "logger": "which part of the program",
    "saga_id": "the saga that the line is about",
    "definition": "of that saga",
    "step": "of that saga, with an item's position: `reserve[17]`",
    "trace_id": "the saga's trace, its latest part where it has several; of a request, its caller's; 32 hex digits",
    "span_id": "where the line is about one call, that call's span; of a request, its caller's; 16 hex digits",
    "trace_flags": "`01` where the trace is recorded, `00` where it is not",
    "request_id": "the request to the API that the line is about: the caller's `x-request-id`, or one made here",
    "method": "the full gRPC name of that request's method",
    "message": "what happened",
    "exception": "class, place and causes of an error, its text where it can hold no data",
}
"""Every key of a line for machines, in order; the empty ones are left out. The names of a trace are OpenTelemetry's."""

_SEVERITY = {
    logging.DEBUG: 5,
    logging.INFO: 9,
    logging.WARNING: 13,
    logging.ERROR: 17,
    logging.CRITICAL: 21,
}
_ABOUT = ("saga_id", "definition", "step", "trace_id", "span_id", "trace_flags", "request_id", "method")
_OF_SAGA = frozenset({"saga_id", "definition", "step"}) | logscope.OF_TRACE
_SHOWN = {
    "saga_id": "saga",
    "step": "step",
    "definition": "definition",
    "trace_id": "trace",
    "request_id": "request",
    "method": "method",
}
"""What a person sees before the text, and what it is called there."""


class LogFormat(StrEnum):
    """For whom the lines are."""

    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who says it: the same in every line of a process."""

    service: str = SCOPE
    version: str = __version__
    node: str = ""


def speaker(environ: Mapping[str, str], node: str) -> Speaker:
    """Return who this process is, by the name under which its spans are found."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    listed = {key.strip(): value.strip() for key, _, value in pairs}
    service = environ.get("OTEL_SERVICE_NAME", "").strip() or listed.get("service.name", "") or SCOPE
    return Speaker(service=service, node=node)


def configure_logging(
    log_format: LogFormat = LogFormat.HUMAN,
    level: str = "INFO",
    stream: IO[str] | None = None,
    source: Speaker | None = None,
    monotonic: Callable[[], float] = time.perf_counter,
) -> None:
    """Send every log line of the process to `stream` (standard error where none is given); replaces earlier set-ups.

    `monotonic` gives seconds that never go back. Raise `ValueError` for an unknown level.
    """
    handler = Lines(stream or sys.stderr, monotonic)
    handler.setFormatter(JsonLines(source or Speaker()) if log_format is LogFormat.JSON else HumanLines())
    root = logging.getLogger()
    root.setLevel(level)
    for each in root.handlers:
        if isinstance(each, Lines):
            each.close()
    root.handlers[:] = [handler]
    logging.captureWarnings(True)


class Lines(logging.StreamHandler[IO[str]]):
    """The one handler: leaves out what is no news, and what has been said often enough."""

    def __init__(self, stream: IO[str], monotonic: Callable[[], float]) -> None:
        """Write to the stream, which stays open; count alike lines by seconds that never go back."""
        super().__init__(stream)
        self._monotonic = monotonic
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as a line, after what was counted until now."""
        now = self._monotonic()
        for left in self._repeats.over(now):
            super().emit(_counted(left))
        if not is_news(record):
            return
        if logging.WARNING <= record.levelno < logging.CRITICAL:
            number = self._repeats.written((record.name, record.levelno, str(record.msg)), now, record.created)
            if number == 0:
                return
            record.is_last = number == LOG_ALIKE_LINES_MAX
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Let the line be lost that cannot be written: logging's own way shows its arguments, and nobody reads it."""

    def close(self) -> None:
        """Say what was counted and not written, however long ago."""
        for left in self._repeats.over(float("inf")):
            super().emit(_counted(left))
        super().close()


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a record is for an operator.

    A library's lines below WARNING are not: they may show what is on the wire. Nor is a caller who has left, whatever
    gRPC calls it: where a connection ends in the moment in which an answer is written to it, gRPC logs an error with a
    traceback. The caller asks again, as of any answer that was lost; there is nothing to mend. At level DEBUG it is
    told. And metadata that is no text is quoted by gRPC with a traceback, at each look at it: it stays what it is,
    bytes, and what a caller sends is never in a line.
    """
    if record.levelno < logging.WARNING and record.name.partition(".")[0] != _OURS:
        return False
    if record.name == _GRPC_SERVER and _message(record).startswith(_METADATA_NO_TEXT):
        return False
    has_left = record.name == _GRPC_SERVER and _message(record).startswith(_ANSWER_NOT_WRITTEN)
    return not has_left or logging.getLogger().isEnabledFor(logging.DEBUG)


class HumanLines(logging.Formatter):
    """`2026-03-01T09:30:00.123Z INFO    runtime.actor  saga=report-7F3A  step=score  text`."""

    def format(self, record: logging.LogRecord) -> str:
        known = _about(record)
        about = "".join(f"{word}={_value(known[key])}  " for key, word in _SHOWN.items() if key in known)
        name = record.name.removeprefix("orchestrator.")
        text = "\n".join(filter(None, (_bounded(_message(record)), _exception(record))))
        return _bounded(escaped(f"{_instant(record)} {record.levelname:<7} {name}  {about}{text}"))


class JsonLines(logging.Formatter):
    """One JSON object per line; `FIELDS` are its keys."""

    def __init__(self, source: Speaker) -> None:
        """Take what is the same in every line."""
        super().__init__()
        self._source = {"service": source.service, "version": source.version, "node": source.node}

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, str | int] = {
            "at": _instant(record),
            "level": record.levelname,
            "severity_number": _SEVERITY.get(record.levelno, 0),
            **self._source,
            "logger": record.name,
            **_about(record),
            "message": _message(record),
            "exception": _exception(record),
        }
        whole = {key: _bounded(value) if isinstance(value, str) else value for key, value in fields.items() if value}
        return json.dumps(whole)  # escapes control characters and everything that is not ASCII


def escaped(text: str) -> str:
    """Return the text with every character that a terminal or a line reader would act on written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _about(record: logging.LogRecord) -> dict[str, str]:
    """Return what the call site says the line is about, and then what the moment says, unless that is another saga."""
    if getattr(record, "is_count", False):
        return {}  # of lines of many; the moment is about the next one
    given = {name: str(value) for name in _ABOUT if (value := getattr(record, name, ""))}
    moment = logscope.about()
    if "saga_id" in given and given["saga_id"] != moment.get("saga_id"):
        moment = {name: value for name, value in moment.items() if name not in _OF_SAGA}
    found = logscope.both(moment, given)
    return {name: found[name] for name in _ABOUT if found.get(name)}


def _value(text: str) -> str:
    """Return a field's value for a person; in quotes where it could be read as more fields than one."""
    text = _bounded(text)
    if not _NO_WORD.search(text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _message(record: logging.LogRecord) -> str:
    """Return what is said; a line whose arguments do not fit its text is said without them rather than lost."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        text = f"{record.msg} ({headline(error)} when its arguments were filled in)"
    if record.name == "asyncio":
        # What follows the first line are the `repr`s of tasks and of their errors, which may quote anything.
        text, _, rest = _WORK.sub("a piece of work took ", text).partition("\n")
        name = _TASK.search(rest)
        text = f"{text} (task {name[1]})" if name else text
    if getattr(record, "is_last", False):
        text += " (more like this are counted for a minute, not written)"
    return text


def _exception(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else _bounded(told(error))


def _counted(left: Left) -> logging.LogRecord:
    name, level, text = left.kind
    args = (left.count, text, _moment(left.last_at))
    record = logging.LogRecord(name, level, __file__, 0, "%d more like %r, the last at %s", args, None)
    record.is_count = True
    return record


def _instant(record: logging.LogRecord) -> str:
    return _moment(record.created)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bounded(text: str) -> str:
    """Cut the middle: what a line begins with says what it is, and a traceback ends with its error."""
    if len(text) <= LOG_LINE_CHARS_MAX:
        return text
    half = LOG_LINE_CHARS_MAX // 2
    return f"{text[:half]}… ({len(text) - 2 * half} characters left out) …{text[-half:]}"
