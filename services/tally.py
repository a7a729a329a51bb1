"""What a method has been through since the process started: plain counters, read by FaultService.GetStats."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """Counters of one method. Mutable and not thread-safe: it belongs to one event loop."""

    calls: int = 0
    effects: int = 0
    replays: int = 0
    nothings: int = 0
    refusals: int = 0
    faulted: int = 0
    in_flight: int = 0

    def count(self, outcome: str) -> None:
        """Count one line of the ledger by its outcome."""
        match outcome:
            case "applied":
                self.effects += 1
            case "replayed":
                self.replays += 1
            case "nothing":
                self.nothings += 1
            case _:
                raise ValueError(f"{outcome!r} is not an outcome of the ledger")
