"""The machine: what a saga is, what may happen to it, and what it owes the world.

It is pure. Time and luck are given to it (`Moment`), expressions are functions it was handed (`Plan`), and nothing in
here reads a clock, rolls dice, logs, waits or does I/O. Three functions are its whole interface::

                  command, moment
                        |
                        v
      state ----> decide(state, command, moment) ----> events ----> journal (durable first)
        ^                                                |
        |                                                v
        +------------------- evolve(state, event) <------+
        |
        +----> owed(state) = effects outstanding; the actor performs owed(new) - owed(old)

* `decide` says what follows from a command, as events. It may evaluate the author's expressions; what they gave is in
  the events.
* `evolve` folds one event into the state. It asks nothing and cannot fail on a legal journal.
* `owed` derives what is outstanding. After a crash it is called with the folded state and nothing else, so an intent
  that was recorded is never forgotten, and one that was not recorded never happened.

The files are split by question, in the order a reader needs them:

==================  ==============================================================================================
`events.py`         what happened: the journal's vocabulary
`transitions.py`    what may happen: two tables, saga status x event and step status x event
`plan.py`           the compiled definition; `edges.py`: who comes after whom, derived once
`facts.py`          what its expressions may read
`state.py`          the fold, with its invariants at the fields; `memo.py`: what it remembers besides
`evolve.py`         one event onto a saga; `evolve_step.py`: onto a step; `evolve_with_step.py`: onto the saga around it
`evolve_order.py`   what is kept so that nothing is looked for; `evolve_items.py`: the counts of a list's items;
                    `traceparts.py`: in which part of the trace
`commands.py`       what may be asked or reported; `effects.py`: what may be owed
`decide.py`         from a command to events; `draft.py`: a decision under construction
`forward.py`        what starts, the first error, the end of a saga that went well
`frontier.py`       which steps may start: trigger rules, and what a decision has freed
`parts.py`          steps that are more than a call: waits, the items of a list, scopes
`backward.py`       what stops, and which undo may start, of the whole saga or of a part; `undoorder.py`: in which order
`calls.py`          the life of one operation, attempt by attempt
`outcome.py`        did it happen: APPLIED, NOT_APPLIED or UNKNOWN, and what follows (`verdicts.py`)
`wanted.py`         what the step is for, which has the last word: pivot, retriable, `on_failure`
`budget.py`         until when, and how long to wait
`repair.py`         what a person may do
`owed.py`           what is outstanding; `owed_since.py`: how that has changed with a few records
`check.py`          the invariants M1 to M13
`explain.py`        why a saga is not further, and what could be done
`undoplan.py`       what undoing it would call, by rehearsal
`sentences.py`      how a sentence of the two holds names, numbers and instants
==================  ==============================================================================================

Invariants: a terminal saga owes nothing (M1); nothing is in flight that is not recorded (M3); an undo exists only for
what was APPLIED or may have been (M4) and only in order (M5); a saga that is not terminal owes something or has asked
a person (M8).

May import: `errors`, `limits`, `values`, `ids`, what computes of the standard library, and the map of `immutables`.
Read next: `events.py`, then `transitions.py`, then `decide.py`.
"""

from orchestrator.saga.check import check, check_steps
from orchestrator.saga.decide import Decision, decide
from orchestrator.saga.evolve import evolve, fold
from orchestrator.saga.owed import owed, wake_at
from orchestrator.saga.state import SagaState, SagaStatus, StepState, StepStatus, blank

__all__ = [
    "Decision",
    "SagaState",
    "SagaStatus",
    "StepState",
    "StepStatus",
    "blank",
    "check",
    "check_steps",
    "decide",
    "evolve",
    "fold",
    "owed",
    "wake_at",
]
