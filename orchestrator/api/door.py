"""The server's door: several calls are asked for at a time where that can be had, so that a burst comes in as a burst.

Asked for one after the other, as gRPC's own server does, two or three hundred come in a second beside a busy loop whose
turns take a millisecond. Whoever comes meanwhile waits outside, unseen and uncounted, and sagas begin one in a turn,
with a commit for each, where they could share it: of 64 that were asked for, ten were at work.

What `ahead.py` overrides is private to gRPC, and may be built otherwise in any release. So it serves with those that it
was tried with, and this is decided before anything of gRPC's is made: half a server, given up, gives back a hold on the
library that it never took, and then another server says that it has started and answers nobody.
"""

import logging
from collections.abc import Sequence
from typing import cast

import grpc.aio
from grpc._cython import cygrpc

_log = logging.getLogger(__name__)

_SINCE, _BEFORE = (1, 84), (1, 86)
"""The releases of grpcio that it was tried with; widen this with a run of its tests on the next one."""
_USED = ("_make_request_call_future", "is_running", "shutdown")


def open_door(options: Sequence[tuple[str, int]]) -> grpc.aio.Server:
    """Return a server without methods."""
    if fits(grpc.__version__, getattr(cygrpc, "AioServer", None)):
        from orchestrator.api.ahead import Door  # noqa: PLC0415  # other releases may not have what it is made of

        return cast(grpc.aio.Server, Door(options))
    _log.warning(
        "calls are let in one by one with grpcio %s; a burst comes in quicker with %d.%d to %d.%d",
        grpc.__version__,
        *_SINCE,
        _BEFORE[0],
        _BEFORE[1] - 1,
    )
    return grpc.aio.server(options=options)


def fits(release: str, core: object) -> bool:
    """Return whether calls can be asked for ahead of time with this release of grpcio and its core for servers."""
    major, minor = release.split(".")[:2]
    return _SINCE <= (int(major), int(minor)) < _BEFORE and all(hasattr(core, name) for name in _USED)
