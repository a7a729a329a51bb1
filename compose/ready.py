#!/usr/bin/env python3
"""Does the orchestrator of this container take work? It asks `/readyz`, for a health check.

    python3 -IS ready.py PORT

Exit code 0 when it does, else 1, and the reason on standard error. It imports no package: a check costs what it
imports, and there is one every few seconds. `saga health` asks the same by gRPC, from anywhere, for ten times as much.
"""

import socket
import sys

PATIENCE_S = 3.0  # below what the check is given; an answer takes milliseconds

try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=PATIENCE_S) as http:
        http.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: http.recv(4096), b""))
except OSError as failed:
    sys.exit(f"nobody says that work is taken: {failed}")
head, _, said = answer.partition(b"\r\n\r\n")
if head.split()[1:2] != [b"200"]:
    sys.exit(f"no work is taken: {said.decode(errors='replace') or head!r}")
