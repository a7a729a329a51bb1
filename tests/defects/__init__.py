"""Would the simulation notice? Mistakes planted in the runtime and the machine, and how many seeds show each.

`orchestrator.testing` runs the whole runtime on virtual time in a world that fails. What it is worth is shown by what
it finds: here is a table of mistakes that a good engineer could make, one to three lines each, of every kind: a fence
that is not looked at, an answer before the commit, a key that changes, an undo too early, a timer forgotten.

::

    table.py  ->  planting.py              ->  seeking.py                 ->  kept.py
    defects       one module's source is       a process with one defect      found.json and the table
                  changed as it is imported    in it runs seed after seed     in docs/reliability.md

    python -m tests.defects                     all of them, from three starting points, 2,000 seeds each at most
    python -m tests.defects fence-skipped       one
    python -m tests.defects --write             all, and keep what was found
    python -m tests.defects --check             hold the page against what is kept
    python -m tests.defects.seeking fence-skipped 2000 1

Nothing on the disk is changed: the loader compiles a changed text, and the process that has it does nothing else. A
seed counts only if the program without the defect is sound at it. A defect that 2,000 seeds do not find is a finding
about the simulation, and makes the command fail.

`make test` runs the ten that are found soonest, each at a seed that is known to find it, and once more without the
defect. `DEFECTS=all` runs all of them.

Not planted: what the simulation cannot see by what it is (gRPC, SQLite, the kernel), and whatever makes no difference
to anybody because something else holds the same rule: then there is no defect to find.

Mutation testing (`tests/mutation`) is the other half: there a machine makes thousands of small mistakes in one package
for the quick tests to notice; here are few, chosen by people, across all of them, for the slowest and widest test.
"""
