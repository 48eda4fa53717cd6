"""`scripts/bench context`: what is in a context of what the new code will use, and what it costs.

Name git repositories (bare ones will do); what was found of them is kept under .bench/context.
Tune on half of them (httpx, llm) and report the others (datasette, boltons, marshmallow).
"""

import argparse
import json
from pathlib import Path

from rich.console import Console

from scripts.benches import context_explain, context_quality, context_speed, context_table
from scripts.benches.context_quality import Asked
from scripts.benches.figures import Bench, machine, show
from scripts.benches.log import FOLDER, ROOT

BUDGETS = (4_000, 8_000, 12_000, 32_000)


def main() -> None:
    """Measure, and print the tables."""
    asked = _parsed()
    folder = FOLDER / "context"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, False, asked.repositories)
    console = Console()
    out = console if console.is_terminal else Console(width=200)
    each = [
        Asked(bench, one, asked.commits, tuple(asked.tokens or BUDGETS), not asked.ours_only)
        for one in asked.repositories
    ]
    if asked.explain:
        tokens = tuple(asked.tokens or BUDGETS)
        context_explain.run(bench, asked.repositories, asked.commits, tokens, asked.explain, out)
        return
    told: dict[str, object] = {"machine": machine()}
    if asked.only != "speed":
        results = context_quality.measure(each)
        context_table.show(results, out)
        told["quality"] = list(context_table.rows_of(results))
        told["verdicts"] = list(context_table.verdicts(results))
    if asked.only != "quality":
        # Enough of it is seen on one; name others with --only speed.
        some = bench.repositories if asked.only else bench.repositories[:1]
        figures = context_speed.measure(bench._replace(repositories=some))
        show(figures, out)
        told["speed"] = [one._asdict() | {"verdict": one.verdict} for one in figures]
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench context", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPO")
    parser.add_argument("--only", choices=("quality", "speed"), help="one part")
    parser.add_argument("--commits", type=int, default=40, help="tasks of each repository")
    parser.add_argument("--tokens", type=int, action="append", help="may be repeated")
    parser.add_argument("--ours-only", action="store_true", help="peers only as they are kept")
    parser.add_argument(
        "--explain", metavar="TASK", help="what became of the gold of tasks whose id begins so; all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values to a file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
