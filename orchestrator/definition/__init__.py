"""The language: what an author writes, checked as a whole, compiled to the plan the machine runs.

::

    YAML text --yaml--> values + places --shapes--> Definition --check--> Bound --compile--> saga.plan.Plan
                                                        ^                   ^
    Python  --builder-----------------------------------'                   '--- Types: descriptors of the targets

Two ways to write one tree (`model.py`); one set of rules for both. Nothing stops at the first mistake: every stage adds
to `Findings`, and the author gets all of them at once, each with a code, a place and a fix.

==================  ===================================================================================================
`diagnostics`       codes, places, findings
`yaml` `emit`       text -> plain values and their places, refusing what YAML should not do; and back
`model` `shapes`    the tree of keys, also the JSON Schema; wrong shapes as findings
`builder`           the same tree from Python
`descriptors`       the called services' types: merged, cut down, pinned; one private pool per revision
`expressions`       the one home of CEL
`scope`             which names may be read where, and how each is read from recorded facts
`holes` `template`  `${ … }` in texts; trees with expressions in them against messages
`fits` `fields`     which types fill which fields; values into fields (`wellknown` for Timestamp and its like)
`paths` `render`    plain paths, copied; everything as pure functions for the machine
`check` `rules`     names and expressions; edges, what may be read when, undo (`graph` answers them)
`compile`           defaults, facts about methods, the plan
`revisions`         content-addressed revisions and their plans (implements `ports.plans.Plans`)
==================  ===================================================================================================

Invariants

* A plan's functions are pure and total: they read recorded facts only, raise nothing, and give the same for ever.
* A reply that is not there never reads as an empty message. An expression that reaches it fails and says so; one that
  asks `steps.x.applied` first does not.
* A revision is compiled from its own descriptors, never from what a service says today.
* No author's text makes a reader crash, loop, or need memory out of proportion: YAML aliases, tags and merge keys are
  refused at the parser's events, every size has a bound in `limits.py`.

Data edges are inferred from what `request` and `when` read, because both are evaluated before the call. What is
evaluated when a step settles (`refuse`, `reason`, `compensate`) must read upstream steps only: a finding says so,
rather than an edge that nobody wrote.

May import: `ports`, `saga.plan`, `errors`, `limits`, `values`, `ids`; of libraries ruamel in `yaml` and CEL in
`expressions` only. Read next: `check.py`, which names the rules; then `scope.py` and `template.py`.
"""

from orchestrator.definition.builder import Built, SagaBuilder, StepRef, cel, retry, undo
from orchestrator.definition.diagnostics import Code, Diagnostic, Severity
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition
from orchestrator.definition.revisions import Revisions

__all__ = [
    "Built",
    "Code",
    "Definition",
    "Diagnostic",
    "Revisions",
    "SagaBuilder",
    "Severity",
    "StepRef",
    "cel",
    "retry",
    "to_yaml",
    "undo",
]
