"""Log lines: one record is one line, for a person or for a machine, and no text in it can forge another line.

A line names the saga and the step it is about where the caller says so, with `extra={"saga_id": …, "step": …}`.
Control characters are escaped, because a message may hold what a service sent (CR, LF, terminal sequences). Only
`orchestrator` code decides what is logged; payloads never are.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO

from orchestrator.limits import LOG_LINE_CHARS_MAX

_GRPC_SERVER = "grpc._cython.cygrpc"
_ANSWER_NOT_WRITTEN = "ExecuteBatchError raised in core by servicer method"


class LogFormat(StrEnum):
    """For whom the lines are."""

    HUMAN = "human"
    JSON = "json"


def configure_logging(
    log_format: LogFormat = LogFormat.HUMAN, level: str = "INFO", stream: IO[str] | None = None
) -> None:
    """Send every log line of the process to `stream` (standard error where none is given); replaces earlier set-ups.

    Raise `ValueError` for an unknown level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(is_news)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else HumanLines())
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [handler]


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a record is for an operator: a caller who has left is not, whatever gRPC calls it.

    Where a connection ends in the moment in which an answer is written to it, gRPC logs an error with a traceback. The
    caller asks again, as of any answer that was lost; there is nothing to mend. At level DEBUG it is told.
    """
    has_left = record.name == _GRPC_SERVER and record.getMessage().startswith(_ANSWER_NOT_WRITTEN)
    return not has_left or logging.getLogger().isEnabledFor(logging.DEBUG)


class HumanLines(logging.Formatter):
    """`2026-03-01T09:30:00.123Z INFO    runtime.actor  saga=report-7F3A step=score  text`."""

    def format(self, record: logging.LogRecord) -> str:
        about = "".join(f"{key}={value}  " for key, value in _about(record).items())
        name = record.name.removeprefix("orchestrator.")
        text = _text(record)
        return _bounded(escaped(f"{_instant(record)} {record.levelname:<7} {name}  {about}{text}"))


class JsonLines(logging.Formatter):
    """One JSON object per line: at, level, logger, saga_id, step, message, exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": _instant(record),
            "level": record.levelname,
            "logger": record.name,
            **{{"saga": "saga_id"}.get(key, key): value for key, value in _about(record).items()},
            "message": _bounded(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = _bounded(self.formatException(record.exc_info))
        return json.dumps(fields)  # escapes control characters and everything that is not ASCII


def escaped(text: str) -> str:
    """Return the text with every character that a terminal or a line reader would act on written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _about(record: logging.LogRecord) -> dict[str, str]:
    named = {"saga": str(getattr(record, "saga_id", "")), "step": str(getattr(record, "step", ""))}
    return {key: value for key, value in named.items() if value}


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bounded(text: str) -> str:
    if len(text) <= LOG_LINE_CHARS_MAX:
        return text
    return f"{text[:LOG_LINE_CHARS_MAX]}… ({len(text)} characters)"
