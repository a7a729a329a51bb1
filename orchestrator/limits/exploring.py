"""Exploring: how far a search goes."""

# States a search looks at before it gives up and says so: some minutes, and about 2 KB each.
EXPLORE_STATES_MAX = 300_000
# Calls open when the orchestrator is killed of which every choice is tried, took place or not; of more, none, all and
# each alone.
EXPLORE_KILLED_CALLS_MAX = 3
# Paths kept of those that do not end as they must; one is shown, and a hundred are as much as anybody mends at once.
EXPLORE_FLAWS_MAX = 100
# How often a search tells how far it is.
EXPLORE_PROGRESS_S = 2.0
# How long a search may take where nobody says otherwise.
EXPLORE_S_DEFAULT = 120.0
# Records after which a simulated saga is held to be one that never ends.
PLAY_RECORDS_MAX = 100_000
