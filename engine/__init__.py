"""The log, its history, models, contexts, runs and interfaces: all that touches the world."""

import sys

if __name__ == "engine":  # found at the top of a checkout, where it stood until version 0.2
    sys.stderr.write(
        "backcast: needed the package backcast, found a checkout that an older version was"
        " installed from: run scripts/install in it\n"
    )
    sys.exit(2)
