"""`scripts/bench log`: the log and its replay, beside what they are built on and beside others.

Everything is measured in one run on one machine and shown as ratios with the control beside them.
"""

import argparse
import shutil
from pathlib import Path

from rich.console import Console

from scripts.benches import (
    log_append,
    log_git,
    log_memory,
    log_moments,
    log_replay,
    log_spacing,
    log_storage,
    log_turns,
)
from scripts.benches.figures import Bench, save, show

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"
PARTS = {
    "append": log_append,
    "replay": log_replay,
    "moments": log_moments,
    "spacing": log_spacing,
    "storage": log_storage,
    "git": log_git,
    "turns": log_turns,
    "memory": log_memory,
}


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench log", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPO")
    parser.add_argument("--full", action="store_true", help="the heavier runs too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="some parts; may be repeated"
    )
    asked = parser.parse_args()
    folder = FOLDER / "log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(folder, asked.full, asked.repositories)
    figures = []
    try:
        for name in asked.only or PARTS:
            figures += PARTS[name].measure(bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        console = Console()
        show(figures, console if console.is_terminal else Console(width=190))
        if asked.json:
            save(figures, asked.json)


if __name__ == "__main__":
    main()
