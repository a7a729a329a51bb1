"""The JSON Schema of definitions, for editors: `docs/saga.schema.json`, committed and checked to be current.

::

    python -m orchestrator.definition.schema            write it
    python -m orchestrator.definition.schema --check    exit 1 where it is not what the models say
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.definition.model import Definition

SCHEMA_FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "saga.schema.json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# A name, not an address: the file is shipped with the source, editors are pointed at it by path.
_ID: Final = "urn:saga-orchestrator:definition"


def schema_text() -> str:
    """Return the schema as it is committed."""
    schema = {"$schema": _DIALECT, "$id": _ID, **Definition.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the file, or check it; return the exit code."""
    text = schema_text()
    if "--check" not in arguments:
        SCHEMA_FILE.write_text(text, encoding="utf-8")
        return 0
    if SCHEMA_FILE.is_file() and SCHEMA_FILE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{SCHEMA_FILE} is not current: run python -m orchestrator.definition.schema\n")
    return 1


if __name__ == "__main__":  # pragma: no cover  (a test runs it as a process of its own)
    sys.exit(main(sys.argv[1:]))
