"""Generated from `protos/travel/v1` by `python protos/generate.py`; not edited by hand."""
