"""The surface: gRPC in, and a little HTTP for probes.

::

    client ──► door (door.py, ahead.py)         a burst of calls comes in as a burst
                 ▼
               edge (edge.py)                   request id, admission, errors to statuses, slow readers
                 ├─► counted (counting.py)      by method and status, timed unless it is meant to last
                 └─► SagaService (sagas.py)     one method per verb of the façade
                 │     └─ Watch (watch.py)      a saga's events as a resumable stream
                 └─► OperatorService (operators.py)   repair: every verb audited, `by` from `caller.py`
                 └─► DefinitionService (definitions.py)
                 └─► AdminService (admin.py)          who is there, and who may write what
                 └─► DiagnosticsService (diagnostics.py)   the process about itself, also when it is full
                 └─► health, reflection (standard.py)
                 ╎  NotOwner: the saga is another process's (forwarding.py) ──► its desk, or the store's letter box
    peer   ──► desk (desk.py) ──► the same methods (servicers.py), for what other processes took
    probe  ──► HttpServer (http.py)             /healthz, /readyz, /metrics

What a method does is four lines: check the caller's words, put them into ours (`mapping.py`), ask the façade, put the
answer into the caller's (`views.py`, `events.py`). Everything it raises is turned into a status in one place.

What is always true here:

* An error that a caller sees is a row of `status.TABLE`, or INTERNAL with a number to quote; never a traceback.
* The deadline of a call bounds the call, never the saga. A wait that runs out of time answers with the saga as it
  stands, because an error would lose the handle.
* What one caller may take is bounded (`limits/api.py`): size of a message, of its metadata, of a page, of a
  status; number of calls, of waits, of streams; age of a stream; patience with a slow reader. A bound that is reached
  says so and says what to do; nothing queues without end.
* A page neither misses nor repeats a saga that exists throughout, because a token holds the last row's key.
* A watch is resumable by number at any point, so it may be cut at any point: drain, age, slow reader, crash.
* A request that another process of the cluster has to do is done there; its answer comes out as it went in there. It is
  forwarded once, never on; acknowledged is what the owner's journal holds.
* When the server drains, health says NOT_SERVING first; then new calls are refused, waits end, calls in flight are
  answered, and only then do the connections close.

May import: `runtime`, `definition`, `ports`, `saga`, `errors` and the nouns below; never an adapter. It is the home
of gRPC's server side, starlette and uvicorn. The contract on the wire is `protos/orchestrator/v1`; its reference for
callers is `docs/api.md`.

Read next: `sagas.py`, then `edge.py`.
"""

from orchestrator.api.http import HttpServer
from orchestrator.api.server import SERVICES, ApiBounds, ApiServer, Links, Listen
from orchestrator.api.servicers import Servicers

__all__ = ["SERVICES", "ApiBounds", "ApiServer", "HttpServer", "Links", "Listen", "Servicers"]
