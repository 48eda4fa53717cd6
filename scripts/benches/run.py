"""`scripts/bench run`: what a run takes beside the model, and what its prompts spare the model.

Everything is measured in one run on one machine, with the control beside it.
"""

import argparse
import shutil
from pathlib import Path

from rich.console import Console

from scripts.benches import run_prefix, run_steps
from scripts.benches.figures import Bench, save, show
from scripts.benches.log import FOLDER, ROOT

PARTS = {"steps": run_steps, "prefix": run_prefix}


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench run", description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="prompts that the model is given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="some parts; may be repeated"
    )
    asked = parser.parse_args()
    folder = FOLDER / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(folder, False, [ROOT])
    figures = []
    try:
        for name in asked.only or PARTS:
            figures += PARTS[name].measure(bench, asked.steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        console = Console()
        show(figures, console if console.is_terminal else Console(width=190))
        if asked.json:
            save(figures, asked.json)


if __name__ == "__main__":
    main()
