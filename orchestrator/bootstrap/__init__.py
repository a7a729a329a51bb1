"""The composition root: the only package that introduces adapters to each other.

`open_node` puts a whole orchestrator together inside the running event loop, without surfaces: what a test, a benchmark
or a Python program embeds. `serve` adds the gRPC API and HTTP around it and runs until a signal; `run` is `serve` for
a process, with its exit code.

Starting goes from the inside out, and stopping back again: refuse new work, let calls in flight end, send the last
spans, commit what was decided, close the store. A second signal skips all of that and exits at once, because being
killed is a case the journal is made for.

==============  ====================================================================================================
`clock.py`      the clock of a real machine
`stores.py`     from a setting to an open store; a store that is opened to be read
`node.py`       `open_node`: journal, invoker, catalogue, runtime and telemetry, wired
`figures.py`    who has which of the numbers that a scrape asks for
`moving.py`     a file's journal becomes a PostgreSQL's
`sharing.py`    what a process has besides, that shares its store with others
`process.py`    `serve` and `run`: surfaces, signals and the event loop
`collecting.py` the garbage collector, kept from holding up the event loop
==============  ====================================================================================================

May import: everything but the command line. Read next: `node.py`.
"""

from orchestrator.bootstrap.clock import SystemClock
from orchestrator.bootstrap.collecting import calm_collector
from orchestrator.bootstrap.moving import promote, survey_promotion
from orchestrator.bootstrap.node import Node, open_node
from orchestrator.bootstrap.process import EXIT_OK, EXIT_SERVER, EXIT_STORAGE, Ready, run, serve
from orchestrator.bootstrap.stores import Store, has_company, open_records, open_store

__all__ = [
    "EXIT_OK",
    "EXIT_SERVER",
    "EXIT_STORAGE",
    "Node",
    "Ready",
    "Store",
    "SystemClock",
    "calm_collector",
    "has_company",
    "open_node",
    "open_records",
    "open_store",
    "promote",
    "run",
    "serve",
    "survey_promotion",
]
