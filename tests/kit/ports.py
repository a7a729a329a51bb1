"""A port that is kept without listening: connections are refused, and nobody else gets it."""

import socket


def bound(port: int = 0) -> socket.socket:
    """Return a socket bound to a port of this process; port 0 takes a free one."""
    taken = socket.socket(proto=socket.IPPROTO_TCP)  # said aloud, or asyncio would not turn Nagle's algorithm off
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", port))
    taken.setblocking(False)
    return taken
