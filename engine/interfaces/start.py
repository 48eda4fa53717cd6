"""Starts the command line, so that Ctrl-C ends it in one line even while it is being imported."""

import sys


def main() -> None:
    """Run the command that the process was started with."""
    try:
        from backcast.engine.interfaces.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("backcast: interrupted by Ctrl-C\n")
        sys.exit(128 + 2)
