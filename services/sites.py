"""The study's sites. Invented, like everything in the demo.

`CLOSED_SITES` left the study before it ended: patients there still finish their visits, so reports keep coming in, but
nobody on site can answer for an adverse event any more. The safety service refuses to open one there.
"""

OPEN_SITES = (
    "BR-01", "BR-02", "DE-01", "DE-02", "ES-01", "FR-01", "FR-02", "GB-01", "JP-01", "PL-01", "US-01", "US-02",
)  # fmt: skip
CLOSED_SITES = ("DE-03", "IT-01")
