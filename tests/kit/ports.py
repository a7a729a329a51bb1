"""Ports that stay whose they are: one that is kept without listening, and one for a server that comes and goes."""

import os
import socket
from itertools import count

FIRST, LAST = 15_000, 30_000
"""Below those that a system hands out: who asks it for any, to listen or to connect, never comes upon one of these."""


def bound(port: int = 0) -> socket.socket:
    """Return a socket bound to a port of this process, where connections are refused; port 0 takes a free one."""
    taken = socket.socket(proto=socket.IPPROTO_TCP)  # said aloud, or asyncio would not turn Nagle's algorithm off
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", port))
    taken.setblocking(False)
    return taken


def free() -> int:
    """Return a port where nobody listens and no other test will, also while its server is away for a moment.

    Its sign is the UDP port of the same number, which this process holds until its end.
    """
    return next(port for port in map(_numbered, _numbers) if _taken(port))


_numbers = count()


def _numbered(number: int) -> int:
    return FIRST + (os.getpid() * 61 + number) % (LAST - FIRST)


def _taken(port: int) -> bool:
    """Take a port, unless somebody has it or listens there."""
    with socket.socket(type=socket.SOCK_DGRAM) as sign, socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sign.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        sign.detach()  # the system closes it with this process
    return True
