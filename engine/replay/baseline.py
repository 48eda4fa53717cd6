"""Read a `backcast regress` report as the baseline of a run by other code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.log.remote import shown
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.measure import Figures, Measured
from backcast.engine.replay.used import Used

Place = tuple[str, str, int]
"Log, task and version of a step."


def figures_in(path: Path) -> dict[Place, Figures]:
    """Return the figures of each step in a report, under the last of its policies."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {
            (run["run"]["log"], run["run"]["task"], step["version"]): _figures(step["figures"][-1])
            for run in report["runs"]
            for step in run["steps"]
        }
    except OSError as error:
        raise InputError(f"{path}: needed a report: {error.strerror}") from None
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: needed a report of 'regress', found {error!r:.80}") from None


def _figures(row: dict[str, Any]) -> Figures:
    items = {node: (priority, level) for node, (priority, level) in row["items"].items()}
    missed = tuple(Used(kind, node) for kind, node in (pair.values() for pair in row["missed"]))
    timed = {"seconds": 0.0} | row  # which reports had once
    return Figures(**(timed | {"items": items, "missed": missed, "stale": tuple(row["stale"])}))


def beside(runs: Sequence[Tried], before: dict[Place, Figures]) -> tuple[list[Tried], int]:
    """Return the runs with the report's figures first, and how many steps it lacks.

    Steps that the report lacks are left out.
    """
    kept, unknown = [], 0
    for run, steps in runs:
        measured = []
        for step in steps:
            figures = before.get((shown(run.log), run.task, step.version))
            if figures is None:
                unknown += 1
            else:
                measured.append(Measured(step.version, step.name, (figures, *step.figures)))
        kept.append(Tried(run, tuple(measured)))
    return kept, unknown
