"""`make compose-test`: runs the mesh of compose/ where a Docker engine is, and says so where none is."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compose.engine import Broken, absence, say, versions
from tests.compose.trial import full, small

REQUIRED = "REQUIRE_ENGINE"
MESHES = {"full": full, "small": small}


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 1 where anything is wrong, or where there is no engine and there has to be one."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description="Run the mesh in containers.")
    parser.add_argument("--only", choices=MESHES, help="this mesh alone")
    parser.add_argument("--keep", action="store_true", help="leave the containers as they are")
    given = parser.parse_args(arguments)
    if why := absence():
        print(f"SKIPPED, nothing was run and nothing is known of the mesh: {why}")
        return int(os.environ.get(REQUIRED, "0") == "1")
    say(versions())
    with TemporaryDirectory(prefix="saga-compose-") as folder:
        for name in [given.only] if given.only else MESHES:
            say(f"== the {name} mesh")
            try:
                MESHES[name](Path(folder), keeps=given.keep)
            except Broken as broken:
                say(f"BROKEN: {broken}")
                return 1
    say("== the mesh works")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
