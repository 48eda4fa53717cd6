"""What the last checks said of the tests that a prompt shows, and what was tried before them.

Both change with every iteration, so they stand behind all that stays: verdicts behind the module
and its last changes, not between the code of the tests and a module that may begin as it did, and
the trail of earlier tries above the last failure. A test has a verdict by name only where that
follows from the log.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.context import Candidate
from backcast.domain.graph import NEEDS
from backcast.domain.node import path_of, plain_name
from backcast.domain.policy import Details, Policy
from backcast.engine.context.sources import SourceLines
from backcast.engine.context.symbols import Symbols
from backcast.engine.context.work import Levels
from backcast.engine.history.task_states import TaskStates
from backcast.projections import checks

CHECKS, EARLIER = "checks:", "earlier:"
"How the nodes of verdicts, and of earlier tries, begin."
NAMED = 12
"Tests that are named as passed; where more did, their number is enough."
WIDE = 160
"Characters of a failure's message in the trail."
CHANGED = 8
"Changed lines of an earlier try that are shown."


class CheckedTests(NamedTuple):
    """The tests of one module at a moment: what bears on their last verdicts."""

    states: TaskStates
    symbols: Symbols
    path: str
    tests: Sequence[str]
    "The nodes of the tests that may be shown."

    def verdicts(self, policy: Policy, levels: Levels) -> Iterator[Candidate]:
        """Yield the last run's counts, and which tests failed and passed in it."""
        found = checks.last_run(self.states.checks, self.path) if policy.verdicts else None
        if found is None:
            return
        key, run = found
        say = _Words(policy.words)
        total = run.passed + run.unmet
        counts = say("ran" if key else "ran all", passed=run.passed, all=total)
        counts += say("skipped", count=run.skipped) if run.skipped else ""
        failed, since = say.names("failing", _failing(run)), self._since(run.version)
        passed = say.names("passing", self._passed(key, run)) if failed else ""
        old = say("since", names=", ".join(since)) if since else ""
        texts = [
            ("full", (counts, failed, passed, old)), ("summary", (counts, failed, old)),
            ("name", (counts, old)),
        ]  # fmt: skip
        lines = [(level, "\n".join(filter(None, parts))) for level, parts in texts]
        priority = policy.priority("test results")
        # Its event comes after its iteration, and so does its place among what changes.
        yield Candidate(
            f"{CHECKS}{self.path}@{run.version}", "current module", priority, levels(lines, 1.0),
            1.0, (run.version,), run.version,
        )  # fmt: skip

    def _since(self, version: int) -> list[str]:
        """Return the module, its tests' files and what it imports, as far as they changed since."""
        modules = self.states.graph.modules
        links = self.symbols.graph.links.get(self.path)
        edges = links.edges if links else ()
        own = {self.path, *map(path_of, self.tests)}
        own |= {path_of(edge.target) for edge in edges if edge.kind in NEEDS}
        known = (path for path in sorted(own) if path in modules)
        return [path for path in known if modules[path].version > version]

    def _passed(self, key: str, run: checks.TestedRun) -> list[str]:
        """Return the tests that passed, where the log shows it: all that failed is listed, nothing
        was skipped, and the run was of these tests' files."""
        planned = {one.path: one.tests for one in self.states.progress.planned}
        files = planned.get(key, ())
        tests = [t for t in self.tests if not key or not files or path_of(t) in files]
        failed = {name.partition("[")[0].replace("::", ".") for name in map(_name, run.failed)}
        dotted = {test: _dotted(test) for test in tests}
        good = [
            test
            for test, name in dotted.items()
            if not failed & {path_of(test), name, name.rpartition(".")[2]}
        ]
        known = bool(files) or (not key and bool(planned))
        enough = run.passed >= len(good) if known else run.passed == len(good)
        if not (run.listed and enough) or run.skipped or not 0 < len(good) <= NAMED:
            return []
        return [_last(test) for test in good]


def trail(
    state: checks.State, path: str, policy: Policy, details: Details, lines: SourceLines,
    levels: Levels,
) -> Iterator[Candidate]:  # fmt: skip
    """Yield the tries before the last failure: what failed, what was mended, and where failures are
    shown in full, their messages and what was changed."""
    runs = checks.tries(state, path) if policy.trail else []
    failed = [number for number, (_, run) in enumerate(runs) if run.unmet > 0]
    if not failed or failed[-1] != len(runs) - 1 or len(failed) < 2:
        return
    full = details.errors == "full"
    numbers = failed[-1 - policy.trail :]
    shown = list(_tries(runs, numbers, path, _Words(policy.words), lines if full else None))
    # The last failure's own message, and what led to it, stand below.
    heads = [f"{one.head} {one.why}".strip() for one in shown[:-1]] + [shown[-1].head]
    whole = [f"{head}\n{one.changed}".strip() for head, one in zip(heads, shown[:-1], strict=False)]
    texts = [("full", "\n".join([*whole, heads[-1]])), ("summary", "\n".join(heads)),
             ("signature", "\n".join(one.head for one in shown))]  # fmt: skip
    texts = texts if full else texts[-1:]
    because = tuple(runs[number][1].version for number in numbers)
    yield Candidate(
        f"{EARLIER}{path}@{because[-1]}", "recent errors", policy.priority("recent errors"),
        levels(texts, 0.5), 0.5, because,
    )  # fmt: skip


class ShownTry(NamedTuple):
    """One run of checks as the trail shows it."""

    head: str
    "Its number, counts, and which tests it mended and which failed."
    why: str
    "The messages of those that failed anew."
    changed: str
    "The lines that were changed for it."


def _tries(
    runs: Sequence[tuple[str, checks.TestedRun]],
    numbers: Collection[int],
    path: str,
    say: "_Words",
    lines: SourceLines | None,
) -> Iterator[ShownTry]:
    """Yield the runs of some numbers, each beside the one before it that was about the same;
    without `lines` its head alone."""
    before: dict[str, checks.TestedRun] = {}
    for number, (key, run) in enumerate(runs):
        earlier = before.get(key)
        before[key] = run
        if number not in numbers:
            continue
        own = next((one for one in run.wrote if one.path == path), None)
        known = {failed.name for failed in earlier.failed} if earlier else set[str]()
        comparable = earlier is not None and earlier.listed and run.listed
        now = {failed.name for failed in run.failed}
        mended = [one for one in earlier.failed if one.name not in now] if earlier else []
        new = [one for one in run.failed if one.name not in known]
        still = [one for one in run.failed if one.name in known]
        counts: Mapping[str, object] = {"passed": run.passed, "all": run.passed + run.unmet}
        parts = [
            say("try", number=own.iteration, **counts) if own and key else
            say("try all", **counts),
            say.names("mended", _grouped(mended)) if comparable else "",
            say.names("still", _grouped(still)) if comparable else "",
            say.names("failing", _grouped(new if comparable else run.failed)),
        ]  # fmt: skip
        if lines is None:
            yield ShownTry(" ".join(filter(None, parts)), "", "")
            continue
        # One message of each test: its cases mostly fail alike.
        first = {_last(one.name.partition("[")[0]): one.message[:WIDE] for one in reversed(new)}
        messages = dict.fromkeys(filter(None, reversed(first.values())))
        changed = ""
        if own and own.source and own.before:
            text = lines.changed(own.before, own.source).split("\n")
            marked = [line for line in text if line[:1] in ("+", "-") and line[1:].strip()]
            changed = "\n".join(marked[:CHANGED] + ["..."] * (len(marked) > CHANGED))
        yield ShownTry(" ".join(filter(None, parts)), "; ".join(messages), changed)


class _Words:
    """The policy's own words, filled in; empty for one that is left out."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    def __call__(self, name: str, **values: object) -> str:
        return self._words[name].format(**values)

    def names(self, name: str, names: Sequence[str]) -> str:
        return self(name, names=", ".join(names)) if names else ""


def _failing(run: checks.TestedRun) -> list[str]:
    names = _grouped(run.failed)
    return [*names, "..."] if names and not run.listed else names


def _grouped(failed: Sequence[checks.FailedCheck]) -> list[str]:
    """Return the names of failed tests, the cases of one test together."""
    counts = Counter(_last(one.name.partition("[")[0]) for one in failed if one.name)
    return [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]


def _name(failed: checks.FailedCheck) -> str:
    return failed.name


def _dotted(node: str) -> str:
    """Return a test's node as a run of tests names it, with dots: `test_a.py.Test.test_b`."""
    return plain_name(node.partition(":")[2]).replace("::", ".")


def _last(name: str) -> str:
    """Return the last part of a test's name, or node."""
    return plain_name(name.rpartition("::")[2])
