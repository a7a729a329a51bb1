"""What the engine costs: the same five calls a saga, bare and orchestrated, in one run (`make bench`).

Absolute figures of a shared machine mean little, so every figure has its bare twin: the same services, messages and
concurrency, without engine and journal, the two taken in turn, medians of the rounds. Each side is one process, as a
user would run it: the bare client with Python's own settings, ours with those of `saga serve`. The services answer at
once, from a process of their own, which is in both halves of every ratio.

Beside it stand what has no bare twin: several processes, fail-over, what a database carries (`make bench CASE=scale`).
All figures go to `build/bench.json`, and `python -m tests.benchmarks.tables` writes them into the pages.
"""
