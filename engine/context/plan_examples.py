"""Plans of finished tasks for a request for a plan: the likest as an example, or why not.

How like a task is says what may help a model, by the words of both and by the names that the
tests of one import from the modules of the other. It never makes a plan hold:
`backcast.domain.plans` does that, by exact match.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from backcast.domain.context import Candidate, Omission
from backcast.domain.plans import (
    OF_PLAN,
    PlanCheck,
    PlanSituation,
    PlanTemplate,
    asks_for_plan,
    checks,
    problem_in,
)
from backcast.domain.policy import Policy
from backcast.domain.texts import TEXTS
from backcast.engine.context.request import Request
from backcast.engine.context.search.words import words
from backcast.engine.context.work import Levels
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph, offline_cache

SECTION = "historical patterns"
LEAST = 0.2
"How like a task must be for its plan to be an example; half of it is in words, half in names."
DIFFERENT = 4
"Requirements of its task alone that an example names."
KEYWORDS = 10
NO_KEYWORDS = frozenset(
    words(
        "and are but each for from has have into its may must not only that the their them then"
        " they this those when where which with within"
    )
)
"Words that tell nothing of a task."
ONLY_EXAMPLE = "no more than an example"
NAMED = 3
"Broken plans that a prompt names."


class LikePlan(NamedTuple):
    """A template, and how like its task is to the one that needs a plan."""

    template: PlanTemplate
    words: float
    "The share of words that the two have in common."
    names: float
    "The share of the names that the tests import which its modules define."
    theirs: tuple[str, ...] = ()
    "Requirements of its task alone."

    @property
    def score(self) -> float:
        """The mean of both shares."""
        return round((self.words + self.names) / 2, 6)

    @property
    def node(self) -> str:
        """The name by which a prompt lists it."""
        return f"{OF_PLAN}{self.template.task}"


class PlanExamples:
    """The plans of finished tasks that bear on one request, the likest first."""

    def __init__(self, states: TaskStates, request: Request, policy: Policy, most: int) -> None:
        """`most` examples are shown."""
        self.policy, self.most = policy, most
        self.like: Sequence[LikePlan] = ()
        if policy.plans != "off" and request.target == "" and asks_for_plan(request.query):
            self.now = situation(states, request)
            self.like = [plan for plan in like_plans(states, self.now) if plan.score >= LEAST]

    def candidates(self, levels: Levels) -> Iterator[Candidate]:
        """Yield the likest plans as examples; none that has moved on or is broken."""
        sound = [plan for plan in self.like if not why_no_example(plan.template)]
        for number, plan in enumerate(sound[: self.most]):
            texts = example_texts(plan, self.policy)
            yield Candidate(
                plan.node, SECTION, self.policy.priority(SECTION), levels(texts, plan.score),
                plan.score, (), number, task=plan.template.task,
            )  # fmt: skip

    def left_out(self) -> Iterator[Omission]:
        """Yield the like plans that are no example, or were not used as they are, and why."""
        broken = [plan for plan in self.like if why_no_example(plan.template)]
        for plan in broken[:NAMED]:
            yield Omission(plan.node, SECTION, why_no_example(plan.template))
        if self.policy.plans != "use":
            return
        for plan in [plan for plan in self.like if plan not in broken][: self.most]:
            if check := unmet(plan.template, self.now):
                yield Omission(plan.node, SECTION, f"{ONLY_EXAMPLE}: {check}")


def why_no_example(template: PlanTemplate) -> str:
    """Return why a plan is not shown; empty where it can be."""
    if template.moved:
        return f"stale: {template.moved}"
    return problem_in(template)


def unmet(template: PlanTemplate, now: PlanSituation) -> PlanCheck | None:
    """Return the first precondition that does not hold; None where all of them do."""
    return next((check for check in checks(template, now) if not check.holds), None)


def situation(states: TaskStates, request: Request) -> PlanSituation:
    """Return what the preconditions of a plan are asked about."""
    modules = states.graph.modules
    texts = {
        path: modules[path].source or "" for path in sorted(modules) if not modules[path].deleted
    }
    task = states.graph.task_id
    goal, names = states.progress.goal or "", imported_names(states.graph)
    return PlanSituation(task, goal, request.query, texts, names=names)


def imported_names(state: dependency_graph.State) -> frozenset[str]:
    """Return the names that a task's files import from what is not there yet: `money::parse`."""
    present = dependency_graph.present(state)
    names = list[str]()
    for path in sorted(present):
        facets = present[path]
        standard = facets.get("standard", ())
        for key in sorted(facets):
            if not key.startswith("name:"):
                continue
            kind, module, name = (*facets[key], "", "")[:3]
            if kind not in ("import", "from") or module.partition(".")[0] in standard:
                continue
            names.append(f"{module}::{name}" if kind == "from" and name else module)
    own = {path.removesuffix(".py") for path in present}
    return frozenset(name for name in names if name.partition("::")[0] not in own)


def like_plans(states: TaskStates, now: PlanSituation) -> list[LikePlan]:
    """Return the plans of other tasks, the likest first; ties by task."""
    listed, found = _listed(now.asked), []
    own = _words(now.goal, listed)
    for template in offline_cache.templates(states.offline):
        if template.task == now.task:
            continue
        required = _required(template.plan.requirements)
        theirs = _words(template.goal, required)
        alike = round(len(own & theirs) / (len(own | theirs) or 1), 6)
        names = round(len(now.names & template.names) / (len(now.names) or 1), 6)
        only = tuple(text for text in required if text not in listed)
        found.append(LikePlan(template, alike, names, only))
    return sorted(found, key=lambda plan: (-plan.score, plan.template.task))


def keywords(template: PlanTemplate) -> list[str]:
    """Return the words that tell most of a task: those of its goal first, then the commonest."""
    goal, rest = words(template.goal), Counter(words("\n".join(template.plan.requirements)))
    ranked = [*dict.fromkeys(goal), *sorted(rest, key=lambda word: (-rest[word], word))]
    telling = (w for w in dict.fromkeys(ranked) if len(w) > 2 and w not in NO_KEYWORDS)
    return list(islice(telling, KEYWORDS))


@lru_cache(4_096)
def _required(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return requirements as a request lists them."""
    return _listed("\n".join([TEXTS["requirements"], *(f"- {text}" for text in requirements)]))


@lru_cache(4_096)
def _words(goal: str, requirements: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words("\n".join((goal, *requirements))))


def _listed(asked: str) -> tuple[str, ...]:
    """Return the requirements in a request for a plan."""
    lines = asked.split("\n")
    if TEXTS["requirements"] not in lines:
        return ()
    rest = lines[lines.index(TEXTS["requirements"]) + 1 :]
    end = next((n for n, line in enumerate(rest) if line[:2] != "- "), len(rest))
    return tuple(line[2:] for line in rest[:end])


def example_texts(plan: LikePlan, policy: Policy) -> list[tuple[str, str]]:
    """Return a plan at two levels: with each module's purpose, and as a list of paths."""
    texts, template = policy.words, plan.template
    goal = " ".join(template.goal.split())
    head = texts["example"].format(task=template.task, goal=goal) or f"{template.task}:"
    lines = [template.text] if template.text else []
    for module in template.plan.modules:
        needs = f" (needs {', '.join(module.dependencies)})" if module.dependencies else ""
        tests = f" [{', '.join(module.tests)}]" if module.tests else ""
        lines.append(f"- {module.path}: {module.purpose}{needs}{tests}")
    theirs = "; ".join(plan.theirs[:DIFFERENT])
    differs = texts["differs"].format(theirs=theirs) if theirs else ""
    paths = ", ".join(module.path for module in template.plan.modules)
    full = "\n".join(filter(None, (head, *lines, differs)))
    return [("full", full), ("signature", f"{head}\n{paths}".rstrip())]
