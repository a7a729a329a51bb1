"""Where every thread stands, written by the interpreter itself when it is asked by a signal."""

import sys

_STANDARD_ERROR = 2
"""The descriptor: whatever `sys.stderr` is by then, this is where the log goes."""


def show_on_signal() -> None:
    """Let SIGUSR2 write the stack of every thread to standard error; called again it changes nothing.

    The interpreter does it in the signal handler: it works where the event loop is stuck and the API is silent. Until
    this is called the signal ends the process, so a program calls it before anything else.
    """
    if sys.platform != "win32":
        import faulthandler  # noqa: PLC0415  # with `signal`, all that a program loads before it may be asked
        import signal  # noqa: PLC0415  # as above

        faulthandler.register(signal.SIGUSR2, file=_STANDARD_ERROR, all_threads=True)
