"""`scripts/bench knowledge`: what is known at a moment, what it costs, and whether it is true.

Everything is measured in one run on one machine, with the control beside it. Name repositories
with a long history; by default it is this one.
"""

import argparse
import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from scripts.benches import (
    knowledge_graph,
    knowledge_names,
    knowledge_rank,
    knowledge_stale,
    outlines,
    search,
)
from scripts.benches.figures import Bench, Figure, save, show
from scripts.benches.log import FOLDER, ROOT


def _outlines(bench: Bench) -> list[Figure]:
    """Outlining this project and a package of the standard library."""
    bench.say("outlining, beside ast.parse alone")
    paths = [Path(asyncio.__file__).parent, ROOT / "engine"]
    return [figure for folder in paths for figure in outlines.measure(sorted(folder.rglob("*.py")))]


PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "stale": knowledge_stale.measure,
    "names": knowledge_names.measure,
    "graph": knowledge_graph.measure,
    "outlines": _outlines,
    "search": search.measure,
    "rank": knowledge_rank.measure,
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
            figures += PARTS[name](bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        console = Console()
        show(figures, console if console.is_terminal else Console(width=190))
        if asked.json:
            save(figures, asked.json)


if __name__ == "__main__":
    main()
