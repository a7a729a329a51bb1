"""The kit that tries sagas before the world does: the real runtime under virtual time, with a world that fails.

May import: everything but `api`, `cli`, `config` and `bootstrap`.
"""
