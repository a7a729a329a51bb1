"""The checker: how much `saga verify` reads and lists."""

# As many broken rules as a person reads at once; further ones are counted.
VIOLATIONS_KEPT_MAX = 1_000
# Sagas read at once by the checker.
VERIFY_PAGE_ROWS = 500
