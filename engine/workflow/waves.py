"""Decides which requests of a run are made side by side: a pure function of progress and plan.

Modules of which none needs another are asked for in one *wave*. The prompts of a wave are built as
of its start; answers are recorded as they come, and what follows from them in the order of the plan
once all have come. So what the model sees next is the same in whatever order they came.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from backcast.domain.node import path_of
from backcast.engine.workflow.decide import (
    Action,
    AnswerQuestions,
    AskModel,
    is_wanted,
    module_action,
    pending,
)
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress


class LaneAction(NamedTuple):
    """An action for one module of those that are worked on side by side."""

    lane: str
    "The key of its tries; empty for what is about no request."
    action: Action


def next_in_lanes(
    state: progress.State,
    spec: Spec,
    unsummed: Callable[[str], Sequence[str]] = lambda path: (),
    *,
    without: Mapping[str, object] = {},
    opens: bool = True,
    races: bool = False,
) -> list[LaneAction]:
    """Return the next actions of lanes: calls to make side by side, or one other action.

    Empty where what comes next is done alone. `without` holds lanes whose calls have failed, and
    that are left as they are; `opens` tells whether a new wave may be begun, and `races` whether
    one call makes a wave, since it has alternatives.
    """
    if state.status in progress.ENDED or not state.planned:
        return []
    if state.step is not None and is_wanted(state, state.step):
        return []
    asked, answered, anew, questions = _open_lanes(state, spec, without)
    if asked or answered:  # as all of a wave have an answer before any is used
        return asked or answered[:1]
    if questions:  # all of a wave's at once
        return questions[:1]
    busy = {module_of(lane.step) for _, lane in state.lanes.items() if lane.step}
    ready = [planned for planned in state.planned if not is_waiting(planned, state, spec)]
    for planned in ready:
        if planned.path in busy:
            continue
        action = module_action(state, spec, planned, unsummed)
        if isinstance(action, AskModel):
            lane = progress.try_key(action.kind, action.module)
            number = progress.attempt(progress.seen_from(state, lane))
            if lane not in without and (opens or lane in state.lanes):
                anew.append(LaneAction(lane, action._replace(attempt=number)))
        elif action is not None and opens and len(ready) > 1:
            return [LaneAction("", action)]
    alone = len(anew) == 1 and anew[0].lane not in state.lanes and not without and not races
    paths = [planned.path for planned in state.planned]

    def place(asked: LaneAction) -> int:
        assert isinstance(asked.action, AskModel)
        return paths.index(module_of(asked.action))

    return [] if alone else sorted(anew, key=place)


def _open_lanes(
    state: progress.State, spec: Spec, without: Mapping[str, object]
) -> tuple[list[LaneAction], list[LaneAction], list[LaneAction], list[LaneAction]]:
    """Return what is to be done for open lanes, in the order of the plan: calls that have no answer
    yet, answers to use, calls to make anew, and questions to answer first."""
    places = {planned.path: place for place, planned in enumerate(state.planned)}
    lanes = [
        (places.get(module_of(lane.step), -1), key, lane.step)
        for key, lane in state.lanes.items()
        if lane.step and is_wanted(state, lane.step) and key not in without
    ]
    asked, answered, anew = list[LaneAction](), list[LaneAction](), list[LaneAction]()
    questions = list[LaneAction]()
    for _, key, step in sorted(lanes):
        action = pending(progress.seen_from(state, key), spec, step)
        if isinstance(action, AnswerQuestions):
            questions.append(LaneAction("", action))
            continue
        kept = asked if step.context else anew
        kept = kept if isinstance(action, AskModel) else answered
        kept.append(LaneAction(key, action))
    return asked, answered, anew, questions


def module_of(step: progress.PendingStep | AskModel) -> str:
    """Return the module that a step, or a call, is about."""
    return step.module if step.kind == "code" else path_of(step.module)


def is_waiting(planned: progress.Planned, state: progress.State, spec: Spec) -> bool:
    """Return whether a module waits for others, or for nothing more: it is complete."""
    done = {path for path in state.modules if state.modules[path].status == "complete"}
    return planned.path in done or not set(needs_of(planned, state.planned, spec)) <= done


def needs_of(
    planned: progress.Planned, plan: Sequence[progress.Planned], spec: Spec
) -> tuple[str, ...]:
    """Return the modules without which a module is not written: those that it depends on, and
    earlier ones that its tests import, without which its checks could not pass."""
    paths = [module.path for module in plan]
    earlier = paths[: paths.index(planned.path)]
    texts = {test.path: test.source for test in spec.tests}
    imported = {name for test in planned.tests for name in _imported(texts.get(test, ""))}
    tested = [path for path in earlier if _module_name(path) in imported]
    return tuple(dict.fromkeys([*planned.dependencies, *tested]))


@lru_cache(maxsize=1024)
def _imported(source: str) -> frozenset[str]:
    """Return every module that a text may import, by its dotted name, packages included."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
    parts = (name.split(".") for name in names)
    return frozenset(".".join(part[: n + 1]) for part in parts for n in range(len(part)))


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
