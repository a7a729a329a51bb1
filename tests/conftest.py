"""What every test may rely on: no setting of the caller's shell leaks in, and properties run the same way twice."""

import os
import signal

from hypothesis import settings

# A proxy would catch calls to loopback, telemetry settings would send a test's spans to a real collector, and a make
# that runs the tests would talk through the ones that a test runs.
_FOREIGN = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_FOREIGN_FAMILIES = ("OTEL_", "ORCHESTRATOR_", "SAGA_", "GRPC_", "MAKE", "MFLAGS")
_OURS = ("ORCHESTRATOR_TEST_",)
for _name in [name for name in os.environ if name in _FOREIGN or name.startswith(_FOREIGN_FAMILIES)]:
    if not _name.startswith(_OURS):
        del os.environ[_name]

# A shell ignores SIGINT for what it runs in the background, and so would every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The gate is deterministic. `--hypothesis-profile=explore` looks for new examples, as long as one likes to wait.
settings.register_profile("gate", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("gate")
