"""Generated from `protos/shop/v1` by `python protos/generate.py`; not edited by hand."""
