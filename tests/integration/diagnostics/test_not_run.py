"""A process that is stopped blames nobody for it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WATCHED = """
import asyncio, json, sys, time
from orchestrator.bootstrap.clock import SystemClock
from orchestrator.diagnostics.stalls import StallDetector
from orchestrator.ports.observer import Silence

class Telling(Silence):
    def stalled(self, seconds):
        stall = detector.latest[0]
        print(json.dumps([stall.culprit, stall.held_s, list(stall.stack)]), flush=True)

async def main():
    # Stopped while it begins it would have nothing to compare with: it has looked a few times by then.
    async with detector.running():
        while asked < 20:
            await asyncio.sleep(0.001)  # poll
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

def monotonic():
    global asked
    asked += 1
    return time.perf_counter()

asked = 0
detector = StallDetector(clock=SystemClock(), observer=Telling(), stall_s=0.01, monotonic=monotonic)
asyncio.run(main())
"""


def stopped(process: subprocess.Popen[str]) -> float:
    """Stop the process while others begin and end, for half a second; return at least how long that was.

    Until a look was due the process is not late, which takes two hundredths of it.
    """
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    began = time.monotonic()  # noqa: TID251  # the other side of what is measured
    took_s = 0.0
    while took_s < 0.5:
        subprocess.run([sys.executable, "-c", "import asyncio, decimal, http.client"], check=True)
        took_s = time.monotonic() - began  # noqa: TID251  # as above
    process.send_signal(signal.SIGCONT)
    return took_s


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can tell why it was late")
def test_a_process_that_was_stopped_says_so_and_blames_nobody() -> None:
    command = [sys.executable, "-c", WATCHED]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # What a busy machine does to it may be told before.
        assert "ready\n" in iter(process.stdout.readline, "")
        took_s = stopped(process)
        told = (json.loads(line) for line in process.stdout)
        # What a busy machine does to it is shorter.
        culprit, stack = next((culprit, stack) for culprit, held_s, stack in told if held_s > took_s * 0.9)
        process.stdin.close()
    assert culprit.startswith("nobody: the process was not run")
    assert stack == []
