"""`scripts/bench knowledge`: what is known at a moment, what it costs, and whether it is true.

Everything is measured in one run on one machine, with the control beside it. Name repositories
with a long history; by default it is this one.
"""

import argparse
import shutil
from pathlib import Path

from rich.console import Console

from scripts.benches import (
    knowledge_graph,
    knowledge_rank,
    knowledge_stale,
    outlines,
    search,
)
from scripts.benches.figures import Bench, save, show
from scripts.benches.log import FOLDER, ROOT

PARTS = {
    "stale": knowledge_stale,
    "graph": knowledge_graph,
    "outlines": outlines,
    "search": search,
    "rank": knowledge_rank,
}


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench knowledge", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPO")
    parser.add_argument("--full", action="store_true", help="the heavier runs too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="some parts; may be repeated"
    )
    asked = parser.parse_args()
    folder = FOLDER / "knowledge"
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
