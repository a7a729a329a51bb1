"""The long lane: what `make test` does in a share that fits its ten minutes, done for as long as it takes.

::

    python -m tests.soak                    every lane, in full
    python -m tests.soak --list             what there is, and how long it takes
    python -m tests.soak --only kill --only sigterm
    python -m tests.soak --minutes 60       every lane, each a share of its full size that fits an hour

    lanes.py  the table: a line a lane ---> __main__.py  one after the other, each in a process of its own
                                                |   its output   build/soak/<lane>.log
                                                v   its figures  build/figures/<report>.json (tests/kit/figures.py)
    page.py   one page of figures  <-----------+    the page     build/soak.md

A lane is a part of the tests that has a knob: an environment variable that says how many kills, seeds or inputs. It
runs the same code as in `make test`, so that nothing is found here that could not be found there with more patience.

A lane that failed, that was skipped, or whose figures are not of this run says so in the page. The exit code is 1 where
a lane failed, did not report, or counted something lost, doubled, left undone or otherwise broken.

To add a lane: a line in `lanes.py`, with the names under which it calls `figures.keep`.
"""
