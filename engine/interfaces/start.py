"""Starts the command line, so that Ctrl-C ends it in one line even while it is being imported."""

import os
import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command that the process was started with."""
    _hold_streams()
    try:
        from backcast.engine.interfaces.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("backcast: interrupted by Ctrl-C\n")
        sys.exit(128 + 2)


def _hold_streams() -> None:
    """Make the three streams such that they can be written, or fail as files do.

    Where one is closed, the next file that is opened, be it a database, would become it. What the
    encoding of one cannot spell is written in ASCII.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is taken, which is this one; children have it too.
            os.set_inheritable(os.open(os.devnull, mode), True)
    # Those stay open to the end, as the ones that Python opens do.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
