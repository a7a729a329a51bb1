"""Generated from `protos/importer/v1` by `python protos/generate.py`; not edited by hand."""
