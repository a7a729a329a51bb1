"""The eyes: what sagas did, as spans, numbers and lines. The only home of OpenTelemetry and of prometheus-client.

A trace is not recorded while a saga runs; it is *read from the journal*. Every record that closes something (an
attempt, a step, an undo, a saga) says when that thing began, so its span can be made from that one record and a little
memory of the saga. Ids are functions of the saga's identity. Hence no span object is ever held open, a crash loses no
span, and a span told twice is the same span::

    actors ──append──> journal ──news(cursors)──> project ───────> outbox ──OTLP──> collector
       │                  ▲                       (pure fold)      (a thread)           │
       └──recorded()──────┼── wakes the reader                                          │
                          └────────────── cursors "otlp-traces" <── confirmed ──────────┘
                                          one for each shard that this process owns

    caller's span
    └─ saga epro                        sent when the saga ends
       ├─ saga.start                    sent at once
       ├─ step score                    sent when the step settles
       │  ├─ epro.v1.Scoring/Score      attempt 1 (CLIENT): UNAVAILABLE
       │  └─ epro.v1.Scoring/Score      attempt 2 (CLIENT): OK ── the service's own server span is its child
       ├─ step reserve                  a list: its items are its children, the first thousand of them
       ├─ step trip                     a scope: its members are its children, and its rollback
       └─ saga.compensation             sent when everything is undone
          └─ undo score  ┈┈links to┈┈>  attempt 2
             └─ epro.v1.Scoring/Withdraw

Invariants

* The live path, the path after `kill -9` and the path after a shard came from another process are the same code; there
  is no second one to be wrong (T3, T8).
* Two spans never share an id, and one span never has two contents (T1, T8).
* A saga never waits for telemetry. The journal is the buffer: a dead or hanging collector fills a bounded queue and the
  reader stops there; when it is back, the reader goes on. What is given up is counted, and only after ten minutes.
* Sampling is decided when the saga starts and recorded (T10); an unsampled saga has no spans.
* No payload and no secret is in a span, a label or a line; of baggage only what an operator has named, in the saga's
  span. A saga's id is never a metric label.
* What is kept of a saga, and what one record can make of it, is bounded whatever the saga does; spans and events past a
  bound are counted in an attribute where they would have been.
* With tracing off nothing of it runs, and the SDK is not even imported.

Modules, in reading order: `names` (the published words), `spandata` (a span as a value), `endings` (of a saga), `views`
(what is remembered of a saga), `notes` and `spans` (how events and spans are made), `project` (the fold), `tracing`
(what runs), `reader` (records to spans), `places` (the cursors), `outbox` (the thread), `settings` (the `OTEL_*`
variables), `exporters` and `encoding` (the SDK); `instruments` (what is published), `series` (numbers by labels, and
their exemplars), `metrics` (what is told becomes numbers), `asked` and `sampling` (what is not told), `exposition` (the
page); `observers` (several as one), `logs` (the line and what each level promises) with `repeats` and `tracebacks`.
`traceparent` itself is parsed and written in `orchestrator.tracecontext`, where surfaces and invoker reach it; what a
line is about comes from `orchestrator.logscope`.

May import: `ports`, `saga`, `errors`, `limits`, `values`, `ids`, `tracecontext`, `logscope`; OpenTelemetry and
prometheus-client. Nobody imports it but `bootstrap`. Read next: `project.py`, then `docs/design/telemetry.md`.
"""

from orchestrator.telemetry.logs import LogFormat, configure_logging
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.observers import Observers
from orchestrator.telemetry.tracing import Tracing, open_tracing

__all__ = ["LogFormat", "Metrics", "Observers", "Tracing", "configure_logging", "open_tracing"]
