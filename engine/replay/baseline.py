"""A report of `backcast regress` as the baseline of a later one, by other code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.measure import Figures, Measured
from backcast.engine.replay.used import Used

Place = tuple[str, str, int]
"Log, task and version of a step."


def figures_in(path: Path) -> dict[Place, Figures]:
    """What a report tells of each step, under the last of its policies."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {
            (run["run"]["log"], run["run"]["task"], step["version"]): _figures(step["figures"][-1])
            for run in told["runs"]
            for step in run["steps"]
        }
    except OSError as error:
        raise InputError(f"{path}: needed a report: {error.strerror}") from None
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: needed a report of 'regress', found {error!r:.80}") from None


def _figures(told: dict[str, Any]) -> Figures:
    items = {node: (priority, level) for node, (priority, level) in told["items"].items()}
    missed = tuple(Used(kind, node) for kind, node in (one.values() for one in told["missed"]))
    return Figures(**(told | {"items": items, "missed": missed, "stale": tuple(told["stale"])}))


def beside(runs: Sequence[Tried], before: dict[Place, Figures]) -> tuple[list[Tried], int]:
    """The runs with what a report tells of each step in front, and the steps it does not tell.

    Those are left out.
    """
    found, unknown = [], 0
    for run, steps in runs:
        known = []
        for step in steps:
            figures = before.get((run.log, run.task, step.version))
            if figures is None:
                unknown += 1
            else:
                known.append(Measured(step.version, step.name, (figures, *step.figures)))
        found.append(Tried(run, tuple(known)))
    return found, unknown
