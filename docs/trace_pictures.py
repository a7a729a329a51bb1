"""The pictures of `tracing.md`: two sagas really run, their traces as Jaeger gives them, its own pages in a browser.

::

    python docs/trace_pictures.py --pages DIR

DIR is a build of jaeger-ui (`packages/jaeger-ui/build`, after `npm ci` and `npm run build` in its checkout). Beside it
`chromium` has to be on the path, and a Jaeger as for the tests (`tests/kit/jaeger.py`). Between browser and Jaeger is a
server of our own, which does two things that Jaeger does itself since 1.63: a span that was sent twice is shown once,
and a span's parent is the first of its references, where the pages look for it. It also widens the column of names.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.telemetry.clinic import CLOSED_SITE, Open, opened, report
from tests.kit import jaeger
from tests.kit.jaeger import Jaeger
from tests.kit.trees import attempts

FOLDER = Path(__file__).parent / "tracing"
GOOD, BAD = "report-7F3A", "report-81C2"
BUSY_CODE = 14
WORK_S = {
    ("validator", "Validate"): 0.02,
    ("scoring", "Score"): 0.05,
    ("archive", "Store"): 0.08,
    ("archive", "Withdraw"): 0.06,
    ("safety", "OpenAdverseEvent"): 0.04,
    ("notifier", "SendAlert"): 0.03,
}
"""What a call takes: the services themselves would be done in a millisecond, and their bars be dots."""
WIDTH = 1280
NAMES_SHARE = 0.42
"""Of the page's width, for the tree."""
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=9000"),
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


async def main() -> None:
    """Run the sagas, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=Path, required=True, help="a build of jaeger-ui")
    pages = parser.parse_args().pages
    FOLDER.mkdir(exist_ok=True)
    async with jaeger.running() as running:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), running) as world:
                for (service, method), seconds in WORK_S.items():
                    await world.mesh.set_fault(service, method=method, delay={"min": f"{seconds}s"})
                good, bad = await completed(world), await compensated(world)
        with served(pages, running) as address:
            search = f"service=saga-orchestrator&lookback=1h&limit=20&tags=%7B%22saga.id%22%3A%22{BAD}%22%7D"
            for name, path, height in (
                ("search", f"search?{search}", 580),
                ("good", f"trace/{good}", 770),
                ("bad", f"trace/{bad}", 915),
                ("lost", f"trace/{bad}?open=Archive/Store", 570),
                ("undo", f"trace/{bad}?open=undo+archive", 530),
            ):
                await asyncio.to_thread(draw, f"{address}/{path}", name, height)


async def completed(world: Open) -> str:
    """Run one where all goes well; return its trace."""
    with world.clinic.traced("POST /reports") as carrier:
        await world.clinic.start(GOOD, report(GOOD), carrier)
        await world.clinic.end(GOOD)
    await world.clinic.trace(carrier)
    return carrier.trace_id


async def compensated(world: Open) -> str:
    """Run one that is tried again, loses its orchestrator in the middle of a call, and is refused; return its trace."""
    busy = {"code": BUSY_CODE, "message": "the model is being loaded", "retryDelay": "2.5s"}
    await world.set_fault("archive", BAD, method="Store", dropReply={"neverAnswer": True}, firstCalls=1)
    await world.set_fault("scoring", BAD, method="Score", status=busy, firstCalls=1)
    with world.clinic.traced("POST /reports") as carrier:
        await world.clinic.start(BAD, report(BAD, CLOSED_SITE), carrier)
        await world.mesh.calls_in_flight("archive", "Store")
        await world.clinic.jaeger.trace(carrier.trace_id, lambda trace: bool(attempts(trace, "score")))
        await world.killed()
        await world.clinic.end(BAD)
    await world.clinic.trace(carrier)
    return carrier.trace_id


# --- Jaeger's pages --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(pages: Path, running: Jaeger) -> Iterator[str]:
    """Serve the pages and the answers while the block runs."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/api/"):
                answer, kind = json.dumps(mended(running.asked(self.path))).encode(), "application/json"
            elif path.startswith("/static/"):
                answer, kind = (pages / path[1:]).read_bytes(), TYPES.get(Path(path).suffix, "application/octet-stream")
            else:
                answer, kind = index(pages).encode(), TYPES[".html"]
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  (http.server's name)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def mended(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return traces as Jaeger gives them since 1.63."""
    for trace in answer.get("data") or ():
        if isinstance(trace, dict) and "spans" in trace:
            for span in trace["spans"]:
                span["references"].sort(key=lambda each: each["refType"] != "CHILD_OF")
                span["warnings"] = None
            trace["spans"] = list({span["spanID"]: span for span in trace["spans"]}.values())
    return answer


def index(pages: Path) -> str:
    """Return the page's own HTML, which opens the span that the address names."""
    text = (pages / "index.html").read_text(encoding="utf-8").replace('<base href="./"', '<base href="/"')
    return text.replace("</head>", f"<script>{OPEN}</script></head>")


OPEN = f"""
localStorage.setItem('spanNameColumnWidth', '{NAMES_SHARE}');
const wanted = new URLSearchParams(location.search).get('open');
const headers = ['KeyValues', 'References'].map(what => `.Accordian${{what}}--header`);
const look = setInterval(() => {{
  const row = [...document.querySelectorAll('.span-row')].find(row => wanted && row.textContent.includes(wanted));
  if (!row) return;
  clearInterval(look);
  row.querySelector('.span-name').click();
  setTimeout(() => headers.forEach(header => document.querySelector(header)?.click()), 300);
  setTimeout(() => {{
    const details = document.querySelector('.detail-row-expanded-accent').closest('.detail-row');
    document.body.replaceChildren(row, details);
  }}, 900);
}}, 200);
"""
"""Shows one span alone, with all that is in it, where the address asks for that."""


def draw(address: str, name: str, height: int) -> None:
    """Have a page drawn."""
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("chromium is not on the path; install Debian's package of that name")
    path = FOLDER / f"{name}.png"
    with tempfile.TemporaryDirectory() as profile:
        where = (f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}", f"--screenshot={path}")
        subprocess.run([browser, *FLAGS, *where, address], check=True, capture_output=True, timeout=90)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    asyncio.run(main())
