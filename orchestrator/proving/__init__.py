"""The proving ground: does a service keep what its owner says it keeps?

Configuration may say `idempotent: true` and `barrier: true` of a target, and the orchestrator believes it: it repeats
calls whose reply was lost, and undoes UNKNOWN ones at once. This package asks the service itself. It plays both parts
of a saga's step against one forward and one compensating method, with the metadata that the orchestrator sends, in the
orders that real networks bring about, and holds the answers against the barrier contract::

    descriptors --> Subject --> for each rule ------------------------------------------------> Report
    (reflection     methods,      cases: invented sagas of one step, called in a bad order        findings,
     or a file)     requests,     probe: effects counted before and after                         each with
                    the probe     judged: what came back, byte for byte; how many effects         its evidence

Invariants:

* **Evidence, not opinion.** A finding carries every call that was sent and all that came back. What cannot be seen is
  NOT_JUDGED, with what would make it visible: replies alone cannot show an effect nobody was told of, a probe can.
* **One breach, one finding.** A rule names the rules without which a breach of it proves nothing (who keeps no key
  keeps none in a crowd either); where one of those is broken, it is not judged.
* **Bounded.** Some hundred calls, each with a timeout; nothing is tried until it works, but ABORTED, which asks for it.
* **It cleans up.** What a trial made it undoes in the end, and it says where that did not succeed. Every run has sagas
  and keys of its own.
* **The same words as in earnest.** Metadata comes from `invoker.metadata`, statuses are read by `invoker.classify`.

It calls methods that act. It is for a test system, or for requests that are safe to send.

May import: the rings below the surfaces, `invoker` and `definition` (types, CEL) among them; it is one of the homes of
grpc. Read next: `rules.py`, `trials.py`, then `case.py` and `subject.py`.
"""

from orchestrator.proving.prove import prove
from orchestrator.proving.rules import RULES, Exchange, Finding, Report, Rule, Verdict
from orchestrator.proving.subject import Asked, Probe, Unfit

__all__ = [
    "RULES",
    "Asked",
    "Exchange",
    "Finding",
    "Probe",
    "Report",
    "Rule",
    "Unfit",
    "Verdict",
    "prove",
]
