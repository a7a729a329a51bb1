"""Every bound of the system: its name says what and in which unit, its comment says why that number.

A bound that a deployment may need to move is a default here and a setting in `orchestrator.config`. Everything
unbounded is a bug. One file holds what one part of the system obeys:

    definitions ── machine ── payloads      what people write: texts, sagas, messages
    configuration                           what the command line reads and waits for
    journal ── postgres                     what a store may take
    runtime ── cluster ── forwarding        what one process holds, and what several share
    calls ── descriptors                    what is asked of the services that are called
    api ── telemetry                        what callers may take, and what is told of it all
    diagnostics                             what a live process may be asked about itself
    checker ── proving ── exploring ── simulating      what checks the system, and what runs it for pretence

* A limit is a constant of one of these files, and of one only; where another counts from it, it is imported.
* The line above it is its reason, and `docs/limits.md` is written from there: `make docs`.
* Its unit is in its name: `_S` seconds, `_BYTES`, `_CHARS`; what has none counts things. `_MAX` and `_MIN` cannot be
  moved, a `_DEFAULT` can.
* Everybody imports them from here: `from orchestrator.limits import STEPS_MAX`. The door takes all there is from every
  file, so a new limit is written once.

Imports nothing of the project: this is the innermost ring. Read next: the part that obeys them, found by its name.
"""

from orchestrator.limits.api import *
from orchestrator.limits.calls import *
from orchestrator.limits.checker import *
from orchestrator.limits.cluster import *
from orchestrator.limits.configuration import *
from orchestrator.limits.definitions import *
from orchestrator.limits.descriptors import *
from orchestrator.limits.diagnostics import *
from orchestrator.limits.exploring import *
from orchestrator.limits.forwarding import *
from orchestrator.limits.journal import *
from orchestrator.limits.machine import *
from orchestrator.limits.payloads import *
from orchestrator.limits.postgres import *
from orchestrator.limits.proving import *
from orchestrator.limits.runtime import *
from orchestrator.limits.simulating import *
from orchestrator.limits.telemetry import *
