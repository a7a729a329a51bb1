"""Tracing that is off costs nothing, not even an import."""

import subprocess
import sys

from orchestrator.telemetry import Metrics, open_tracing
from tests.unit.telemetry.doubles import FakeClock


def test_without_an_endpoint_there_is_no_tracing() -> None:
    assert open_tracing({}, clock=FakeClock(), meter=Metrics()) is None


def test_the_sdk_is_not_imported_until_tracing_is_on() -> None:
    program = "import sys, orchestrator.telemetry; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
