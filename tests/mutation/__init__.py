"""Would the tests notice? Mutation testing of the machine (`orchestrator/saga`), with a kept score.

A mutant is the machine with one mistake in it: a bound off by one, half of a condition forgotten, a row left out of a
table, a field not given, the other word of an enumeration. Tests that stay green over it have a hole of its shape.
`python -m tests.mutation` makes every mutant that its operators know, runs the tests against each, and names those that
nobody noticed:

    python -m tests.mutation                          all of them, twenty minutes on an idle core
    python -m tests.mutation --module forward         of one file
    python -m tests.mutation --again                  only those that survived the last run
    python -m tests.mutation --sample 200 --seed 7    a fixed choice, as the tests take one
    python -m tests.mutation --keep                   all, and keep the score

==================  ================================================================================================
`operators.py`      what may be wrong with one place of a program
`mutants.py`        every place, every mistake in it: a name that outlives other changes of the file, and the code
`killing.py`        whether the tests notice, each mutant in a fork of a process that has loaded them
`kept.py`           what is kept: `equivalents.toml` and `score.json`
==================  ================================================================================================

A survivor is answered in one of three ways, in this order: by the test that was missing, at the lowest level that
shows it; by deleting what makes no difference; or by an entry in `equivalents.toml` that says why the mutant does what
the code does. An entry whose mutant is gone, or is noticed after all, is a finding.

What notices: the transcripts and the unit tests of the machine, and, where these are silent, random worlds of
`tests/properties` with a fixed seed; for tables also `test_transitions.py`. An assertion of the machine's own that
fails counts as noticed, and so does a mutant that runs for ever. Not tried: type annotations, assertions, imports.

Why of our own: a row of a table, a default and a property are much of what this package consists of, a fixed sample has
to fit into the gate, and reasons belong beside the tests. The libraries at hand leave out the first, take most of a
minute before the first mutant, and keep the last as comments in the code that is tried.
"""
