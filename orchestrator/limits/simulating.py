"""Simulating: the size of a simulated run, and of what is told of it."""

# Turns of a simulated loop at one instant: ten thousand sagas that all begin at once need some hundred thousand.
SIMULATED_TURNS_AT_ONCE_MAX = 1_000_000
# Runs that shrinking a failing one may take: some seconds, and enough to halve a tape of a hundred faults to a few.
SHRINK_RUNS_MAX = 600
# Sagas of one simulated run: more meet no more, and a failing run of thousands is read by nobody.
SIMULATED_SAGAS_MAX = 1_000
# Nodes of a simulated cluster: what goes wrong among three goes wrong among more, and takes longer to be found.
SIMULATED_NODES_MAX = 5
# Sagas of one simulated run with all their children, which are judged together in memory.
SIMULATED_ROWS_MAX = 100_000
# Lines of a timeline on a terminal; a shrunk run has some dozens.
TOLD_MOMENTS_MAX = 400
