"""Removes the folders of agents.

Keepers import it, so it imports little.
"""

import os
import shutil
import time
from contextlib import suppress

PATIENCE = 5.0
"Seconds that a program may go on writing into a folder that is being removed."
STEP = 0.01
"Seconds between two tries."


def remove(folder: str) -> None:
    """Remove a folder, whatever modes the agent gave to what is in it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder) or time.monotonic() > deadline:
            return
        for path, _, _ in os.walk(folder):
            with suppress(OSError):
                os.chmod(path, 0o700)
        time.sleep(STEP)
