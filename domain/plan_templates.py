"""Which plans of finished tasks are templates, and which of their modules have moved on since?"""

from collections.abc import Mapping

from immutables import Map

from backcast.domain.gathered import LatestModule, TaskLegacy, digest_left
from backcast.domain.plans import Planning, PlanTemplate

Tasks = Map[str, TaskLegacy]
"What tasks have left, by task."
Latest = dict[str, tuple[LatestModule, str]]
"The latest version of each module, and the task that left it."


def templates_of(
    complete: Mapping[str, TaskLegacy], running: Tasks, failed: Tasks
) -> list[PlanTemplate]:
    """Return the plans of complete tasks, the latest first, and which have moved on since.

    The last plan that a PLAN_LEARNED told is a task's plan where the log knows no other.
    """
    lasting = {task: running.get(task, of) for task, of in complete.items()}
    found, latest = list[PlanTemplate](), _latest_by_context(lasting)
    for task, of in complete.items():
        plan = of.planning
        text = of.plans[-1].text if of.plans and not plan.ended else ""
        if not plan.ended and not text:
            continue
        if task in failed:
            moved = f"task {task} failed since, at event {failed[task].version}"
        else:
            moved = _moved_on(task, plan, lasting[task], latest.get(plan.context, {}))
        found.append(PlanTemplate(task, of.goal or "", plan, moved, text, _names(of, plan)))
    return found


def _latest_by_context(lasting: Mapping[str, TaskLegacy]) -> dict[str, Latest]:
    """Return the latest version of each module that complete tasks left, by shared context."""
    found: dict[str, Latest] = {}
    for task in sorted(lasting):
        of = lasting[task]
        if not of.planning.context:
            continue
        modules = found.setdefault(of.planning.context, {})
        for path in sorted(of.modules):
            module = of.modules[path]
            if path not in modules or modules[path][0].position < module.position:
                modules[path] = module, task
    return found


def _moved_on(task: str, plan: Planning, of: TaskLegacy, latest: Latest) -> str:
    """Return which module of a plan is not as its task left it; empty where all are."""
    own = of.modules
    for path in [module.path for module in plan.modules]:
        if path not in plan.made:
            return f"{path} was not there when task {task} ended"
        if path not in own:
            return f"{path} was deleted or renamed by task {task} since"
        key, digest = plan.made[path]
        module, by = latest.get(path, (own[path], task))
        now = digest_left(module, key)[1]
        if module.position > plan.position and now != digest:
            how = "moved on" if now else "has another text, not outlined yet"
            return f"{path} {how}, by event {module.version} of task {by}"
    return ""


def _names(of: TaskLegacy, plan: Planning) -> frozenset[str]:
    """Return what the modules of a plan define, as imports name it."""
    names = list[str]()
    for path in sorted(plan.made):
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        symbols = of.modules[path].symbols if path in of.modules else Map[str, str]()
        names += [module, *(f"{module}::{name}" for name in sorted(symbols) if "." not in name)]
    return frozenset(names)
