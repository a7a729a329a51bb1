"""The `saga` program: the orchestrator from a terminal.

::

    saga COMMAND            main.py imports the command's module, and nothing else
      |-- sagas.py          start, signal, get, list, count, wait, cancel   one gRPC call each
      |-- explaining.py     explain, undo-plan                           why, what next, what would be undone
      |-- repairing.py      attention, repair, audit                     what only a person may
      |-- events.py         watch, history, trace -> waterfall.py        drawn from the saga's events
      |-- top.py            top -> tallies.py, overview.py, topscreen.py -> toplayout.py   figures, again and again
      |-- debug.py          debug dump; profile -> profiling.py          one live process
      |-- definitions.py    definitions create, list, get, revisions, activate
      |-- check.py          check                                        works without a server
      |-- participant.py    verify-participant                           calls a service, not the orchestrator
      |-- serve.py          serve, config                                the only commands that read settings
      `-- demo.py           demo -> mesh.py, traffic.py, ledgers.py      a mesh of processes, a kill, a proof
    session.py              the connection, and what its errors mean
    showing.py              a saga, as a person reads it
    output.py, exits.py     what is printed where; how it ends
    streams.py              standard input, output and error that are closed, full, or speak ASCII alone

Invariants:

* `saga --help` imports neither gRPC nor pydantic nor rich: a command's imports are inside its function.
* Standard output carries the answer alone, in the format that was asked for; notes, progress and errors go to
  standard error. Colour and redrawn lines are for terminals, a pipe gets plain lines.
* An ending is an exit code (`exits.py`, published) and, where it is not 0, one clear line with the next move. A
  traceback is shown only to those who ask for it (`SAGA_TRACEBACK=1`).
* Everything but `serve`, `check`, `config` and the two that verify goes through the published API: what the program can
  do, any client can.

May import: everything inside the ring, at the moment it is needed. Read next: `main.py`, then `sagas.py`.
"""
