"""`scripts/bench regress`: recorded logs under other policies, what that takes and what it tells.

Name git repositories with 1,000 functions or more (bare ones will do). Their histories, and a run
of 1,000 steps, are kept under .bench/regress; the first time takes some minutes more. Everything
is measured in one run on one machine, with the control beside it.
"""

import argparse
from pathlib import Path

from rich.console import Console

from scripts.benches import regress_policies, regress_speed, regress_strategies, regress_verify
from scripts.benches.figures import Bench, save, show
from scripts.benches.log import FOLDER, ROOT

PARTS = {
    "speed": regress_speed,
    "policies": regress_policies,
    "verify": regress_verify,
    "strategies": regress_strategies,
}


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench regress", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPO")
    parser.add_argument("--full", action="store_true", help="200 windows, not a few")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="some parts; may be repeated"
    )
    asked = parser.parse_args()
    folder = FOLDER / "regress"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, asked.full, asked.repositories)
    figures = []
    try:
        for name in asked.only or PARTS:
            figures += PARTS[name].measure(bench)
    finally:
        console = Console()
        show(figures, console if console.is_terminal else Console(width=190))
        if asked.json:
            save(figures, asked.json)


if __name__ == "__main__":
    main()
