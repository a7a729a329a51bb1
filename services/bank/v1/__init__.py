"""Generated from `protos/bank/v1` by `python protos/generate.py`; not edited by hand."""
