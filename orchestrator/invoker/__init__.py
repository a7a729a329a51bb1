"""The hands: one unary call to any gRPC method of any configured target, bytes in, bytes out, one report back.

::

    begin(call) ----> admit ----------> connect -----------> send -----------> classify ------> on_report(report)
                        |                  |                   |                  |                once, on the loop
                        | unknown target   | no connection     | abort            | status x evidence
                        | deadline over    | deadline          | deadline         | ErrorInfo, RetryInfo, pushback
                        | too large        | abort             | peer dies        | reply that does not parse
                        | paused (R7)      |                   |                  |
                        v                  v                   v                  v
                     NOT_SENT           NOT_SENT              SENT            REPLIED or SENT

What the peer or the network does is never an exception: it is a `Report`, and what a report means for a saga is
decided elsewhere (`saga.outcome`). This package says only what the wire said, and how far the request can have got.

Invariants:

* **Every begun call reports exactly once**, on the event loop, never from within `begin` or `abort`. A call that gRPC
  itself forgets is reported some seconds after its deadline.
* **NOT_SENT is proved, not guessed.** A call is given to gRPC only while its channel is READY, so whatever fails
  earlier cannot have reached the peer. No error text is ever taken as proof, since a peer can send any text: a service
  that passes on its own callee's "failed to connect to all addresses" would otherwise make an applied effect look
  like one that never happened. Where in doubt, SENT.
* **Nobody else retries.** The channel's own retries and resolver-supplied policies are off: each attempt is journaled.
* **Nobody else cancels.** Open calls are held strongly until they report; `close` ends them before their channels.
* **No task per call.** gRPC makes one; its done-callback plus one turn of the loop is all we add. One task per target
  exists while its channel is not connected, and one while its descriptors are fetched.
* **Descriptors have a pool per target**, never the process-wide one: two services may ship files of one name (D-10).

An OK reply that does not parse as its type is reported as INTERNAL, `REPLIED`, with `applied` left unsaid: the effect
happened or not, we cannot read which, so its outcome is UNKNOWN. The types are those of the target's latest
descriptors; while none are known (reflection is off, and no files were given) replies pass unread.

A target that answers UNIMPLEMENTED (its method), UNAUTHENTICATED or PERMISSION_DENIED (all of it) is paused for a
growing interval, in which calls come back at once as `parked`; after it one call at a time is let through on trial.

May import: `ports`, `saga` (reports, status codes), `errors`, `tracecontext`, `limits`, `values`, `ids`; and it is one
of the homes of grpc.

Read next: `service.py` (the life of a call), `channels.py` (options, connect first), `classify.py` (the table as
measured), `governor.py` (pausing), then `targets.py`, `metadata.py`, `methods.py`, `descriptors.py`, `reflection.py`.
"""

from orchestrator.invoker.methods import GrpcMethods
from orchestrator.invoker.service import GrpcInvoker
from orchestrator.invoker.targets import (
    DescriptorSetFile,
    DescriptorSource,
    ProtoFiles,
    Reflection,
    TargetConfig,
    Tls,
    validate,
)

__all__ = [
    "DescriptorSetFile",
    "DescriptorSource",
    "GrpcInvoker",
    "GrpcMethods",
    "ProtoFiles",
    "Reflection",
    "TargetConfig",
    "Tls",
    "validate",
]
