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
`builder` `block`   the same tree from Python
`descriptors`       the called services' types: merged, cut down, pinned; one private pool per revision
`loose`             texts that are no UTF-8, which CEL must not make a map's key of
`expressions`       the one home of CEL (`checked` `faults`: what it says; `direct`: what goes without it)
`names`             which names may be read where, and how each is read from recorded facts
`holes` `template`  `${ … }` in texts; trees with expressions in them against messages
`fits` `fields`     which types fill which fields; values into fields (`wellknown` for Timestamp and its like)
`paths` `lists`     plain paths, copied; lists of `for_each`, read where they are recorded
`render`            everything as pure functions for the machine (`operations`: what answers about operations say)
`flat` `found`      all steps, whatever scope they stand in; targets, methods, types, other definitions
`bodies`            rules about one step by itself: which keys go together, is its undo said
`edges` `rules`     who waits for whom, across scopes; what may be read when, order of undo (`graph` answers them)
`pivot`             R15: what is over before the pivot, and what may follow it
`annotated`         what the owners of the methods said
`check` `compile`   all rules, one after the other (`bound`: what was found); defaults and the plan
`pinning`           what a revision keeps beside its text: descriptors, and the revisions of its children
`together`          definitions given together: who runs whom
`revisions`         content-addressed revisions and their plans (implements `ports.plans.Plans`; `payloads`)
==================  ===================================================================================================

Invariants

* A plan's functions are pure and total: they read recorded facts only, raise nothing, and give the same for ever.
* A reply that is not there never reads as an empty message. An expression that reaches it fails and says so; one that
  asks `steps.x.applied` first does not.
* A revision is compiled from its own descriptors, never from what a service says today.
* No author's text makes a reader crash, loop, or need memory out of proportion: YAML aliases, tags and merge keys are
  refused at the parser's events, every size has a bound in `orchestrator.limits`.

Data edges are inferred from what is read before a step begins (`request`, `when`, `for_each`, `sleep`, a child's
`input`). What is evaluated later (`refuse`, `reason`, `until`, `probe`, `compensate`) must read upstream steps only: a
finding says so, rather than an edge that nobody wrote. An edge that crosses a scope is the scope's.

May import: `ports`, `saga.plan`, `errors`, `limits`, `values`, `ids`; of libraries ruamel in `yaml` and CEL in
`expressions` only. Read next: `check.py`, which names the rules; then `names.py` and `template.py`.
"""

from orchestrator.definition.block import Block, StepRef, cel, for_each, probe, retry, undo, until
from orchestrator.definition.builder import Built, SagaBuilder
from orchestrator.definition.diagnostics import Code, Diagnostic, Severity
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition
from orchestrator.definition.revisions import Revisions

__all__ = [
    "Block",
    "Built",
    "Code",
    "Definition",
    "Diagnostic",
    "Revisions",
    "SagaBuilder",
    "Severity",
    "StepRef",
    "cel",
    "for_each",
    "probe",
    "retry",
    "to_yaml",
    "undo",
    "until",
]
