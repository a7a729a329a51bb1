"""Play the matrix, print its table, and write it to `docs/outcomes.md`; exit status 1 where a rule is broken."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.integration.outcomes import page
from tests.integration.outcomes.cells import cells
from tests.integration.outcomes.judging import wrong
from tests.integration.outcomes.playing import play
from tests.integration.outcomes.test_matrix import PAGE


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        every = asyncio.run(play(cells(), Path(folder)))
    found = [f"{seen.cell}: {why}" for seen in every for why in wrong(seen)]
    print("\n".join(found) or page.render(every))
    if not found:
        PAGE.write_text(page.render(every), encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
