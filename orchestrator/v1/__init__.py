"""Generated from `protos/orchestrator/v1` by `python protos/generate.py`; not edited by hand."""
