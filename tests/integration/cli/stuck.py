"""A program that serves as `saga serve` does, and whose event loop sticks as soon as it says where it listens.

`python -m tests.integration.cli.stuck STORE`: prints `stuck HOST:PORT`, and stays there until it is killed.
"""

import sys
import threading

from orchestrator.bootstrap import run
from orchestrator.config import Settings


def hold_up_the_loop(api: str, http: str) -> None:
    """Never return; nothing else of the loop runs."""
    print(f"stuck {api}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    values = {"store": sys.argv[1], "api": {"port": 0}, "http": {"port": 0}}
    run(Settings.model_validate(values), hold_up_the_loop)
