"""What the engine costs: the same five calls a saga, bare and orchestrated, in one run (`make bench`).

Absolute figures of a shared machine mean little, so every figure has its bare twin: the same process, loop, services,
messages and concurrency, without engine and journal, the two taken in turn, medians of the rounds. The services answer
at once, from one process of their own, which is in both halves of every ratio.
"""
