"""Generated from `protos/expenses/v1` by `python protos/generate.py`; not edited by hand."""
