"""Generated from `protos/epro/v1` by `python protos/generate.py`; not edited by hand."""
