"""The product catalogue of the worked example `bulk_import`, and the search over it: two services on one database.

`python -m services.importer --data DIR`

    Catalogue    keeps rows      Insert, undone by Remove
    Search       keeps indexes   BuildIndex, undone by DropIndex; GetReplica
    Operations   google.longrunning.Operations, for what BuildIndex began

An index takes longer than a call should. `BuildIndex` therefore answers with an operation, and the building goes on
behind it, also across a restart; `indexing.py` tells how.
"""
