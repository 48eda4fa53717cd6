"""Why each function has changed, and how its tests last went, as far as a log says.

Reasons are what was recorded: the subject of a commit, or the checks that failed before an
iteration. A test has a verdict by name only where a run listed all that failed, and its file is
known to have run: of other runs the counts alone are known.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.cache import Failure, failures_of, module_of
from backcast.domain.events import (
    ChecksRan,
    Committed,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    PlanningComplete,
    SourceRead,
    WorkflowEvent,
)
from backcast.domain.moment import Moment
from backcast.domain.node import name_of, path_of
from backcast.engine.log.store import EventStore

KEPT = 3
"Reasons of a node that are kept, the latest."
PASSED, FAILED = "passed", "failed"
_NUMBER = re.compile(r"\s*\(#\d+\)$")
_MERGED = re.compile(r"Merged? (pull request|branch|remote|tag)\b|Merged? .*\binto\b")
_TYPES = (
    "PLANNING_COMPLETE", "CHECKS_RAN", "COMMITTED", "MODULE_ITERATION", "SOURCE_READ",
    "MODULE_RENAMED", "MODULE_DELETED", "MODULE_OUTLINED",
)  # fmt: skip


class Refined(NamedTuple):
    """The versions of a node, and why the last of them were made."""

    versions: int = 0
    reasons: tuple[str, ...] = ()
    "The latest first; a version without a known reason is left out."


class NodeHistories:
    """What the events of a task say about the changes and tests of its nodes."""

    def __init__(self) -> None:
        self.refined: dict[str, dict[str, Refined]] = {}
        "By path and name; the module itself under an empty name."
        self.tested: dict[str, set[str]] = {}
        "The test files that check a module, as it was planned."
        self.verdicts: dict[tuple[str, str], str] = {}
        "By path and name of a test, the verdict of the last run that tells one."
        self._reason = ""
        "Why what comes next was made: the subject of the last commit."
        self._open: dict[str, str] = {}
        "What failed in each module since its last iteration, in words."
        self._reasons: dict[int, str] = {}
        "Of each version that brought a text, why."
        self._names: dict[str, set[str]] = {}
        "The tests of each file that is known."

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event says."""
        match event.fact:
            case Committed(message=message):
                self._reason = subject_of(message)
            case PlanningComplete() as fact:
                for planned in fact.planned:
                    self.tested.setdefault(planned.path, set()).update(planned.tests)
            case ModuleRenamed(module_name=path, previous_name=previous):
                self.refined[path] = self.refined.pop(previous, {})
                self._changed(event, path)
            case ModuleDeleted(module_name=path):
                self.refined.pop(path, None)
            case ModuleIteration(module_name=path):
                self._changed(event, path)
            case SourceRead(path=path):
                self._forget(path)
            case ModuleOutlined(module_name=path) as fact:
                self._outlined(fact, path, event.because[0] if event.because else event.version)
            case ChecksRan() as fact:
                self._checked(event, fact)

    def of(self, node: str) -> Refined:
        """Return the versions of a node, and their reasons."""
        return self.refined.get(path_of(node), {}).get(name_of(node), Refined())

    def verdict(self, test: str) -> str:
        """Return how a test last went; empty where that is not known by its name."""
        return self.verdicts.get((path_of(test), name_of(test)), "")

    def _changed(self, event: WorkflowEvent, path: str) -> None:
        reason = self._open.pop(path, "") or self._reason
        self._reasons[event.version] = reason
        self._forget(path)
        self._refine(path, "", self.of(f"module:{path}").versions + 1, reason)

    def _forget(self, path: str) -> None:
        """Drop the verdicts of a file's tests: what ran was another text."""
        for test in self._names.get(path, ()):
            self.verdicts.pop((path, test), None)

    def _outlined(self, fact: ModuleOutlined, path: str, version: int) -> None:
        if fact.base is None:
            self._names[path] = set()
        names = self._names.setdefault(path, set())
        for key in fact.gone:
            names.discard(key.removeprefix("sig:"))
        for key, facet in fact.set.items():
            what, _, name = key.partition(":")
            if what == "sig" and facet[:1] == ("test",):
                names.add(name)
            elif what == "body" and len(facet) > 1 and facet[1].isdigit():
                self._refine(path, name, int(facet[1]), self._reasons.get(version, ""))

    def _refine(self, path: str, name: str, versions: int, reason: str) -> None:
        nodes = self.refined.setdefault(path, {})
        before = nodes.get(name, Refined())
        if versions == before.versions:
            return  # another outline of the same text
        # A first version was made, and refined nothing.
        new = [reason] if reason and versions > 1 else []
        reasons = before.reasons if versions > before.versions else ()
        nodes[name] = Refined(versions, tuple(dict.fromkeys([*new, *reasons]))[:KEPT])

    def _checked(self, event: WorkflowEvent, fact: ChecksRan) -> None:
        if fact.passed <= 0 and fact.unmet <= 0:
            return
        at, failures = module_of(fact), failures_of(event)
        self._note_open(at, fact, failures)
        failed = {place for failure in failures if (place := failed_test(failure))}
        self.verdicts |= dict.fromkeys(failed, FAILED)
        listed = (
            fact.unmet == len(failures) and all(map(failed_test, failures)) and not fact.skipped
        )
        # Which files ran is known of our own runs alone.
        if not listed or event.writer != "sandbox":
            return
        files = self.tested.get(at, set()) if at else set().union(*self.tested.values())
        ran = {(path, test) for path in sorted(files) for test in self._names.get(path, ())}
        if len(ran) <= fact.passed + fact.unmet:
            self.verdicts |= dict.fromkeys(ran - failed, PASSED)

    def _note_open(self, at: str, fact: ChecksRan, failures: Sequence[Failure]) -> None:
        if at and not fact.unmet:
            self._open.pop(at, None)
            return
        places = {at} if at else {failure.place.partition(":")[0] for failure in failures}
        for path in sorted(places - {""}):
            own = [one for one in failures if at or one.place.partition(":")[0] == path]
            self._open[path] = failed_before(own, fact.unmet)


def histories(store: EventStore, task_id: str, moment: Moment) -> NodeHistories:
    """Return what a task's events say up to a moment about changes and tests of its nodes."""
    found = NodeHistories()
    for event in store.read(task_id, moment=moment, types=_TYPES):
        found.take(event)
    return found


def subject_of(message: str) -> str:
    """Return what a commit's message says of it in one line, without numbers of requests.

    >>> subject_of("Keep case (#12)\\n\\nMore."), subject_of("Merge pull request #1\\n\\nKeep it")
    ('Keep case', 'Keep it')
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if lines and (merged := _MERGED.match(lines[0])):
        # The names of branches are no reason; only of a request the title stands below.
        lines = lines[1:] if merged[1] == "pull request" else []
    return _NUMBER.sub("", " ".join(lines[0].split())) if lines else ""


def failed_before(failures: Sequence[Failure], unmet: int) -> str:
    """Return in words which checks failed before an iteration."""
    names = [name for one in failures if (name := _short(one.name))]
    if not names:
        return f"after {unmet} check{'' if unmet == 1 else 's'} failed" if unmet else ""
    more = f", and {unmet - 1} more" if unmet > 1 else ""
    return f"after {names[0]} failed{more}"


def failed_test(failure: Failure) -> tuple[str, str] | None:
    """Return the path and name of the test that failed; None for an id without a path."""
    path, mark, name = failure.name.partition("::")
    return (path, name.partition("[")[0].replace("::", ".")) if mark else None


def _short(name: str) -> str:
    return name.partition("[")[0].rpartition("::")[2]


def by_relevance(
    tests: Iterable[str], node: str, known: NodeHistories, targets: Mapping[str, int]
) -> list[str]:
    """Return tests of a node: those that failed, then those that are named like it, then those
    that test little else."""
    words = set(_words(name_of(node)))

    def rank(test: str) -> tuple[bool, int, int, str]:
        shared = len(words & set(_words(name_of(test))))
        return known.verdict(test) != FAILED, -shared, targets.get(test, 0), test

    return sorted(dict.fromkeys(tests), key=rank)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)]
