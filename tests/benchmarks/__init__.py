"""What the engine costs: the same five calls a saga, bare and orchestrated, in one run (`make bench`).

Absolute figures of a shared machine mean little, so every figure has its bare twin: the same services, messages and
concurrency, without engine and journal, the two taken in turn, medians of the rounds. Each side is one process, as a
user would run it: the bare client with Python's own settings, ours with those of `saga serve`. The services answer at
once, from a process of their own, which is in both halves of every ratio::

    __main__    cases one after the other, each in a process of its own         cases      what there is, and its aims
       |
    beside, prefilled, growth      comparisons: sides that take turns           rounds     turns, ratios, medians
    cluster, joining, failover, forwarding, capacity    several processes       nodes      real `saga serve`s
    sleepers, items, recovery, startup, scrape          one process alone
       |
    stage       starts the processes of a comparison                            programs   what a process is, and costs
       |
    bare, embedded, clients, writers      do rounds as they are told            flows      a saga, each way
    stubs, collector                      answer them

All figures go to `build/bench.json` (`kept`), and `tables` writes them into the pages (`shown`, `plots`). Beside it
stands the guard, which holds every commit to what a saga costs: `counted` counts work, `floor` tells a loss from
noise, `guard` has the figures that hold, and `test_guard.py` is what `make test` runs.

Read next: `rounds.py`, then `beside.py`, then `cases.py`.
"""
