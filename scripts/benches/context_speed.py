"""The time of a context by a warm builder, beside an earlier commit's and aider's map.

Warm is a builder that has built contexts for other functions of the same state: for ten, as in
the first minute of a session, and for a hundred, as in its first hour. Each function is asked for
once, drawn by a seed, with its signature, docstring and text as the request; so no request comes
twice. The three take turns at every request; aider's map is asked for the same, with its tags
cached and the function's file in the chat. Times are those of the processor, which other work on
the machine does not change much; aider's are by the clock, as are ratios to them. Of a history
only the last commits are imported, since a context is built from what is there now.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from math import log
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

from scripts.benches.context_ours import late
from scripts.benches.context_source import Source
from scripts.benches.context_tasks import Task
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.control import COMMIT, control, started
from scripts.benches.figures import ROOT, Bench, Bound, Figure, percentile
from scripts.benches.peer import Peer, PeerMissing

TOKENS = 8_000
COMMITS = 60
"Commits of a history that are imported, the newest."
WARM, TIMED = (10, 100), 50
"Functions that are asked for before those whose times are taken, and the number of these."
TURN = 10
"Requests that one answers before the next has its turn."
SCRIPT = Path(__file__).with_name("context_timed.py")
OURS, AIDER = "Backcast", "aider RepoMap"
BOUNDS = {50: Bound("<=", 20), 95: None}
GROWTH = Bound("<=", 1)


class Times(NamedTuple):
    """The builds of one repository, by each that was asked."""

    name: str
    functions: int
    "Those of its source modules, any of which may be asked for."
    all: int
    "The same with its tests, which a context may show too."
    answers: dict[str, list[dict[str, Any]]]
    "Seconds, seconds of the processor where they are known, and tokens of each request."
    notes: list[str]
    "Why one was not asked."

    def timed(self, name: str, before: int) -> list[dict[str, Any]]:
        """Return one's answers behind a number of others."""
        return self.answers[name][before : before + TIMED]

    def milliseconds(self, name: str, percent: float, before: int, what: str = "spent") -> float:
        """Return a percentile of one's times; aider's map tells those by the clock alone."""
        timed = self.timed(name, before)
        return percentile([1000 * one.get(what, one["seconds"]) for one in timed], percent)


class Round(NamedTuple):
    """A process that is asked, and how a function becomes its question."""

    peer: Peer
    question: str
    fixed: dict[str, Any]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository and for the growth between them."""
    work = bench.folder / "newest"
    work.mkdir(exist_ok=True)
    every = [_times(bench._replace(folder=work.resolve()), folder) for folder in bench.repositories]
    every.sort(key=lambda times: times.functions)
    return [*(row for times in every for row in _rows(times)), *_growth(every)]


def _times(bench: Bench, folder: Path) -> Times:
    repository = Repository(folder)
    functions = _functions(repository)
    tasks = Random(1).sample(functions, min(WARM[-1] + TIMED, len(functions)))
    times = Times(repository.name, len(functions), 0, {}, [])
    if len(tasks) <= WARM[-1]:
        times.notes.append(f"needed more than {WARM[-1]} functions")
        return times
    bench.say(f"{repository.name}: {len(tasks)} contexts of {len(functions):,} functions")
    with ExitStack() as stack:
        rounds, every = _rounds(bench, repository, stack, times.notes)
        times = times._replace(all=every)
        for turn in range(0, len(tasks), TURN):
            for name, one in rounds.items():
                answers = times.answers.setdefault(name, [])
                answers += [_answer(name, one, task) for task in tasks[turn : turn + TURN]]
    return times


def _answer(name: str, one: Round, task: Task) -> dict[str, Any]:
    """Ask a process for a task."""
    asked: dict[str, Any] = {"task": task}
    if name == AIDER:
        asked = {"chat": [task.path], "request": task.request, "tokens": TOKENS}
    return one.peer.ask(one.question, **asked, **one.fixed)


def _rounds(
    bench: Bench, repository: Repository, stack: ExitStack, notes: list[str]
) -> tuple[dict[str, Round], int]:
    """Start all that can be asked, and count functions and tests; note why others cannot be."""
    recent = str(late(repository, bench.folder, COMMITS).resolve())
    rounds = {}
    peer = stack.enter_context(started(SCRIPT, ROOT))
    asked = peer.ask("open", folder=str(bench.folder), repository=recent, tokens=TOKENS)
    rounds[OURS] = Round(peer, "build", {})
    try:
        before = stack.enter_context(control(bench))
        peer = stack.enter_context(started(SCRIPT, before.tree))
        peer.ask("open", folder=str(before.folder), repository=recent, tokens=TOKENS)
        rounds[COMMIT] = Round(peer, "build", {})
    except PeerMissing as missing:
        notes.append(f"{COMMIT}: {missing}")
    try:
        tree, shown = repository.tree("HEAD"), bench.folder / f"tree-{repository.name}"
        peer = stack.enter_context(Peer.start(bench))
        shown.mkdir(exist_ok=True)
        Checkout(repository, shown).show(tree)
        peer.ask("open", root=str(shown))
        rounds[AIDER] = Round(peer, "timed", {"paths": list(tree)})
    except PeerMissing as missing:
        notes.append(f"aider: {missing}")
    return rounds, asked["functions"]


def _functions(repository: Repository) -> list[Task]:
    """Return each function of the newest tree as the task to change it."""
    tasks = []
    for path, oid in repository.tree("HEAD").items():
        source = Source(repository.body(oid))
        for symbol in source.symbols.values():
            if symbol.kind in ("function", "method") and symbol.last > symbol.opened:
                message = f"Change {symbol.name.rpartition('.')[2]}"
                texts = source.signature(symbol), source.docstring(symbol), source.full(symbol)
                tasks.append(Task("", "", path, symbol.name, False, message, *texts, ()))
    return tasks


def _rows(times: Times) -> Iterator[Figure]:
    """Yield the times of one repository, beside the others', and their ratios."""
    group = f"contexts of {TOKENS:,} tokens, {times.name}, {times.functions:,} functions,"
    group += f" {times.all:,} with tests"
    if OURS not in times.answers:
        yield Figure(group, "warm build", why="; ".join(times.notes))
        return
    others = [name for name in times.answers if name != OURS]
    for before, (percent, must) in product(WARM, BOUNDS.items()):
        beside = [f"{name} {times.milliseconds(name, percent, before):,.1f} ms" for name in others]
        wall = f"by the clock {times.milliseconds(OURS, percent, before, 'seconds'):.1f} ms"
        spent = times.milliseconds(OURS, percent, before)
        yield Figure(group, f"build after {before} others, p{percent}", [spent], "ms",
                     wall, "; ".join([*beside, *times.notes]), must=must)  # fmt: skip
    for before, name in product(WARM, others):
        what = "seconds" if name == AIDER else "spent"
        both = zip(times.timed(OURS, before), times.timed(name, before), strict=True)
        shares = [theirs[what] / own[what] for own, theirs in both]
        over = sum(answer["tokens"] > TOKENS for answer in times.timed(name, before))
        note = f"{over} of {len(shares)} over {TOKENS:,}" if over else ""
        yield Figure(group, f"times as fast as {name} after {before} others, median",
                     [median(shares)], control=note)  # fmt: skip
    over = sum(answer["tokens"] > TOKENS for answer in times.answers[OURS])
    yield Figure(group, "contexts over their tokens", [over], "", must=Bound("<=", 0))


def _growth(every: Sequence[Times]) -> Iterator[Figure]:
    """Yield how the median grows from the smallest repository, beside the square root."""
    sized = [times for times in every if OURS in times.answers]
    for times, before in product(sized[1:], WARM):
        first, size = sized[0], times.functions / sized[0].functions
        group = f"growth from {first.name}, {first.functions:,} functions"
        ratios = {
            name: times.milliseconds(name, 50, before) / first.milliseconds(name, 50, before)
            for name in times.answers
            if name in first.answers
        }
        slopes = [f"{name} {ratio:.2f} x, exponent {log(ratio) / log(size):.2f}"
                  for name, ratio in ratios.items()]  # fmt: skip
        what = f"{times.name}, {size:.1f} x: p50 after {before} others, by the square root"
        yield Figure(group, what, [ratios[OURS] / size**0.5], "x", slopes[0], "; ".join(slopes[1:]),
                     must=GROWTH)  # fmt: skip
