"""When does the plan of a finished task hold for another one?

A plan becomes a template when its task completes. It is used as a plan by exact match alone: the
same goal and the same request to the byte, the same given texts, a task that ended with all checks
passed, and modules whose interface is as that task left it. Likeness is never enough, since it
cannot tell "enable" from "disable"; nor are names, numbers, blanks or an order mapped, since each
of them can say something else. A template that is only like a task is an example in its prompt.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from immutables import Map

from backcast.domain.cache import shortened
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    PlanningComplete,
    RequirementsComplete,
    SourceRead,
    TaskStarted,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.outline import ITERATION, SOURCE, Facet, digest_of
from backcast.domain.texts import TEXTS

SHOWN = ("sig:", "bases:", "name:")
"What the keys of facets begin with that a module's interface consists of."
GIVEN = 64
"Given texts that a template remembers; a plan that rests on more is no more than an example."
MODULES, REQUIREMENTS = 200, 64
LONGEST = 20_000
"Characters of a request that are kept; a longer one is matched by nothing."
INTERFACE = "interface"
"The key of a digest over a module's public names, signatures and bases."
NAMES = 512
"Facets of an interface; a module with more is compared by its text."
SUBJECT = "same context"
"The last precondition, asked where it is known which context a task shares."
OF_PLAN = "plan:"
"What the name of a plan begins with in a prompt: `plan:TASK`."
MASK = "MASKED_"
"What a masked secret begins with: a text that holds it is not what it was."


class TemplateModule(NamedTuple):
    """A module of a template."""

    path: str
    purpose: str = ""
    dependencies: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


class Planning(NamedTuple):
    """A task's plan, and what it was made from, as far as the log tells."""

    context: str = ""
    "The subject whose other tasks may change its modules."
    requirements: tuple[str, ...] = ()
    given: Map[str, str] = Map()
    "The text of each file that was read before the plan, by path."
    asked: str = ""
    "The words in which a model was asked for the plan."
    masked: bool = False
    modules: tuple[TemplateModule, ...] = ()
    "In the order in which they are written."
    unread: int = 0
    "The schema version of a plan of a newer form."
    version: int = 0
    "The version of the PLANNING_COMPLETE."
    origin: str = ""
    "The task whose plan was used; empty where the plan was made for this one."
    ended: int = 0
    "The version of the first TASK_COMPLETE since; 0 for none."
    position: int = 0
    "The position of that."
    passed: int = 0
    failed: int = 0
    "Failed checks that were never mended."
    made: Map[str, tuple[str, str]] = Map()
    "Per module the key and digest of what its task left at its end."


class PlanTemplate(NamedTuple):
    """The plan of a finished task, and where it stands now."""

    task: str
    goal: str
    plan: Planning
    moved: str = ""
    "Which module has moved on since, and by whom; empty where none has."
    text: str = ""
    "The plan in words, as a PLAN_LEARNED told it, where no module of it is known."
    names: frozenset[str] = frozenset()
    "What its modules define: `money`, `money::parse`."


class PlanCheck(NamedTuple):
    """A precondition of a plan, and whether it holds."""

    what: str
    digest: str = ""
    found: str = ""
    "What was found instead; empty where it holds."

    @property
    def holds(self) -> bool:
        """Whether it holds."""
        return not self.found

    def __str__(self) -> str:
        return f"{self.what}: {self.found or 'holds'}"


class PlanSituation(NamedTuple):
    """A task that needs a plan."""

    task: str
    goal: str
    asked: str
    "The words in which a model would be asked."
    texts: Mapping[str, str] = {}
    "The text of each file that is there, by path."
    context: str | None = None
    "Its subject, empty for none of others; None where it is not known."
    names: frozenset[str] = frozenset()
    "What these import of what is not there: `money`, `money::parse`."


def planning(plan: Planning, event: WorkflowEvent) -> Planning:
    """Return what is known of a task's plan after one more event."""
    match event.fact:
        case TaskStarted(context=context):
            return plan._replace(context=context or "")
        case RequirementsComplete() as fact:
            found = fact.data.get("requirements")
            texts = found[:REQUIREMENTS] if isinstance(found, list) else []
            return plan._replace(requirements=tuple(filter(None, map(shortened, texts))))
        case SourceRead(path=path, source=source):
            if plan.modules or (len(plan.given) >= GIVEN and path not in plan.given):
                return plan
            return plan._replace(given=plan.given.set(path, source))
        case ContextBuilt(query=str(query), masked=masked) if asks_for_plan(query):
            return plan._replace(asked=query[: LONGEST + 1], masked=bool(masked))
        case PlanningComplete(planned=planned) as fact:
            modules = tuple(
                TemplateModule(made.path, made.purpose, made.dependencies, made.tests)
                for made in planned[: MODULES + 1]
            )
            origin = fact.reused.task if fact.reused else ""
            return plan._replace(
                modules=modules, version=event.version, origin=origin, ended=0, unread=0
            )
        case UnknownFact(kind="PLANNING_COMPLETE", kind_version=number):
            return plan._replace(modules=(), version=event.version, ended=0, unread=number)
    return plan


def asks_for_plan(query: str) -> bool:
    """Return whether a request is one for a plan."""
    return query == TEXTS["plan"] or query.startswith(f"{TEXTS['plan']}\n")


def interface(facets: Map[str, Facet], key: str, facet: Facet | None) -> Map[str, Facet]:
    """Return the facets of a module's interface after one has changed; None for a gone one."""
    name = key.partition(":")[2]
    if "" in facets or any(part[:1] == "_" and part[:2] != "__" for part in name.split(".")):
        return facets
    if key.startswith("name:"):
        # The value of a constant is no part of it, nor is where a name was imported from.
        facet = facet[:1] if facet and facet[0] in ("value", "alias") else None
    if facet is None:
        return facets.delete(key) if key in facets else facets
    return facets.set(key, facet) if len(facets) < NAMES else Map({"": ()})


def left_digest(
    source: str | None, outlined: str | None, facets: Map[str, Facet], iteration: int, key: str = ""
) -> tuple[str, str]:
    """Return the key and digest of a module: by its interface where that is known, else by its
    text, else by its iteration; by `key` where it is given, with an empty digest for unknown."""
    known = source is not None and source == outlined and "" not in facets
    if key in (INTERFACE, "") and known:
        parts = ("\x01".join((name, *facets[name])) for name in sorted(facets))
        return INTERFACE, digest_of(tuple(parts))
    if key in (SOURCE, "") and source is not None:
        return SOURCE, digest_of((source,))
    if key in (ITERATION, ""):
        return ITERATION, digest_of((str(iteration),))
    return key, ""


def problem_in(template: PlanTemplate) -> str:
    """Return why a template can serve nobody; empty where it can."""
    plan = template.plan
    if plan.unread:
        return f"its plan is of form {plan.unread}, which this release cannot read"
    words = (template.goal, template.text, *plan.requirements, plan.asked)
    texts = (*words, *(module.purpose for module in plan.modules))
    if plan.masked or any(MASK in text for text in texts):
        return "its words are masked in this log"
    if template.text:
        return ""
    if len(plan.modules) > MODULES:
        return f"it has more than {MODULES} modules"
    if not any(module.purpose for module in plan.modules):
        return "the purposes of its modules are not in the log"
    return _disorder(plan.modules)


def _disorder(modules: Sequence[TemplateModule]) -> str:
    """Return what is wrong with the paths or the order of a plan."""
    done = set[str]()
    paths = {module.path for module in modules}
    for module in modules:
        parts = module.path.split("/")
        if module.path in done:
            return f"{module.path!r} is planned twice"
        if {"", ".", ".."} & set(parts) or "\\" in module.path or ":" in module.path:
            return f"{module.path!r} is no path inside the task's folder"
        for needed in module.dependencies:
            if needed not in done:
                where = "behind it or in a cycle" if needed in paths else "not planned"
                return f"{module.path!r} needs {needed!r}, which is {where}"
        done.add(module.path)
    return ""


def checks(template: PlanTemplate, now: PlanSituation) -> Iterator[PlanCheck]:
    """Yield the preconditions under which a template is a task's plan without asking a model."""
    plan = template.plan
    in_words = "it is told in words only" if template.text else ""
    yield PlanCheck("sound plan", found=problem_in(template) or in_words)
    ended = f"task ended complete, {plan.passed} checks passed"
    unproven = f"{plan.failed} of its checks failed" if plan.failed else "no check passed"
    yield PlanCheck(ended, found=unproven if plan.failed or not plan.passed else "")
    yield PlanCheck("modules stand as their task left them", _over(plan.made), template.moved)
    same = template.goal and template.goal == now.goal
    yield PlanCheck("same goal", digest_of((template.goal,)), "" if same else "other words")
    yield PlanCheck("same request", digest_of((plan.asked,)), _asked_otherwise(plan, now))
    if len(plan.given) >= GIVEN:
        yield PlanCheck("given texts", found=f"it rests on {GIVEN} texts or more")
    for path in sorted(plan.given):
        found = now.texts.get(path)
        other = "not there" if found is None else "another text"
        yield PlanCheck(
            f"same {path}", digest_of((plan.given[path],)),
            "" if found == plan.given[path] else other,
        )  # fmt: skip
    if more := sorted(set(now.texts) - set(plan.given)):
        yield PlanCheck("nothing else is there", found=f"{more[0]} is there")
    if now.context is not None:
        other = plan.context or "none"
        yield PlanCheck(SUBJECT, found="" if plan.context == now.context else other)


def _asked_otherwise(plan: Planning, now: PlanSituation) -> str:
    """Return why two requests are not the same."""
    if plan.origin:
        return f"its plan is that of task {plan.origin}"
    if not plan.asked:
        return "no model was asked for its plan"
    if not now.asked:
        return "it is not known how this task asks"
    if max(len(plan.asked), len(now.asked)) > LONGEST:
        return f"more than {LONGEST:,} characters"
    if plan.asked == now.asked:
        return ""
    theirs, own = plan.asked.split("\n"), now.asked.split("\n")
    other = next((line for line in own if line not in theirs), "")
    gone = next((line for line in theirs if line not in own), "")
    if other or gone:
        return f"{_short(other) or 'nothing'} in place of {_short(gone) or 'nothing'}"
    return "the same lines in another order"


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...") if line else ""


def _over(made: Map[str, tuple[str, str]]) -> str:
    return digest_of(tuple("\x01".join((path, *made[path])) for path in sorted(made)))


def held(template: PlanTemplate) -> dict[str, dict[str, str]]:
    """Return the digests that a use of a template rests on, by path and key."""
    plan = template.plan
    given = {path: {SOURCE: digest_of((plan.given[path],))} for path in sorted(plan.given)}
    return given | {path: dict([plan.made[path]]) for path in sorted(plan.made)}
