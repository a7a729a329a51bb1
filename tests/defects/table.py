"""All planted defects, by name."""

from collections.abc import Mapping

from tests.defects.in_calls import IN_CALLS
from tests.defects.in_children import IN_CHILDREN
from tests.defects.in_cluster import IN_CLUSTER
from tests.defects.in_flow import IN_FLOW
from tests.defects.in_journal import IN_JOURNAL
from tests.defects.in_runtime import IN_RUNTIME
from tests.defects.in_undoing import IN_UNDOING
from tests.defects.planting import Defect

_ALL = (*IN_JOURNAL, *IN_RUNTIME, *IN_CALLS, *IN_FLOW, *IN_UNDOING, *IN_CHILDREN, *IN_CLUSTER)

DEFECTS: Mapping[str, Defect] = {each.name: each for each in _ALL}
assert len(DEFECTS) == len(_ALL), "two defects have one name"
