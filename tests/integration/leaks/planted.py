"""Leaks that are planted on purpose: each keeps what the product lets go of, and the census must name it."""

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc.aio

from orchestrator.definition.revisions import Revisions
from orchestrator.ids import SagaId
from orchestrator.invoker.service import GrpcInvoker
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.passivation import Ended
from orchestrator.runtime.perform import Hands
from orchestrator.runtime.watchers import Wanted, Watch, Watchers


def _forget_watcher() -> AbstractContextManager[object]:
    proper, kept = Watchers.watching, list[Watch]()

    @contextmanager
    def watching(self: Watchers, saga_id: SagaId, *wanted: Wanted) -> Generator[Watch]:
        with proper(self, saga_id, *wanted) as watch:
            kept.append(watch)
            yield watch

    return patch.object(Watchers, "watching", watching)


def _also(owner: type, method: str, act: Callable[..., object]) -> AbstractContextManager[object]:
    """Let a method do something more each time, and keep what that gives."""
    proper, kept = getattr(owner, method), list[object]()

    @wraps(proper)
    def doing_more(self: Any, *args: Any, **named: Any) -> Any:
        kept.append(act(self, *args))
        return proper(self, *args, **named)

    return patch.object(owner, method, doing_more)


def _wait_for_ever(*_: object) -> object:
    return asyncio.get_running_loop().create_task(asyncio.Event().wait())


def _arm(*_: object) -> object:
    return asyncio.get_running_loop().call_later(3_600.0, int)


def _name_parts(_: Ended, saga_id: SagaId, *__: object) -> object:
    return [f"{saga_id}.{part}" for part in range(20)]


PLANTS: Mapping[str, tuple[str, Callable[[], AbstractContextManager[object]]]] = {
    "watcher": ("Watch", _forget_watcher),
    "call": ("_Call", partial(_also, GrpcInvoker, "_end", lambda _, opened, *__: opened)),
    "actor": ("Actor", partial(_also, Directory, "_leave", lambda _, actor, *__: actor)),
    "timer": ("TimerHandle", partial(_also, Hands, "let_go", _arm)),
    "task": ("tasks", partial(_also, GrpcInvoker, "begin", _wait_for_ever)),
    "channel": ("Channel", partial(_also, Revisions, "activate", lambda *_: grpc.aio.insecure_channel("127.0.0.1:1"))),
    "file": ("fd null", partial(_also, Revisions, "activate", lambda *_: Path("/dev/null").open())),  # noqa: SIM115
    "text": ("blocks", partial(_also, Ended, "remember", _name_parts)),
}
"""What is forgotten, and how the census calls what stays."""
