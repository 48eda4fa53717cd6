"""Requests that name no function: is what a commit then changed shown, whole or by its signature?

A commit's title is the question, asked of the project or of the module that was then changed; the
state before it is what is known. Commits count that change 1 to 5 functions or methods which were
there before, in 1 to 3 modules; tests, examples, benchmarks and documentation apart, which BM25 is
not given either. A search by words is asked the same.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from backcast.domain.context import Item
from backcast.domain.errors import BudgetExceededError
from backcast.domain.node import path_of
from backcast.domain.outline import names_in
from backcast.domain.paths import ASIDE, is_code, is_test
from backcast.domain.policy import DEFAULT
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder, text_of
from backcast.engine.context.request import Request
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.changes import begun, differs
from backcast.engine.replay.steps import KnownState
from backcast.projections import dependency_graph
from scripts.benches.context_asked_search import AskedTitle, search_figures, searched
from scripts.benches.context_bm25 import ranked
from scripts.benches.context_ours import TOKENIZER, profile_of
from scripts.benches.context_pack import Counting, Pack, Piece
from scripts.benches.figures import Bench, Figure
from scripts.benches.paired import pooled
from scripts.benches.regress_windows import stored

TASKS, SOME = 40, 20
"Of each repository, in a full bench and by default; the latest ones."
LOOKED_AT = 4
"Changes that are looked at for each task."
SIZES = (2_000, 4_000)
BODIES = "BM25, bodies"
EARLIER = "the default, chosen as for a place"
OURS = "Backcast"
POLICIES = {OURS: DEFAULT, EARLIER: DEFAULT.model_copy(update={"lookup": None})}
OF = PROJECT, MODULE = "the project", "the module that is changed"
Way = tuple[int, str, str]
"Tokens, what is asked, and the method."
LEAST, MOST = 4, 5
"Words of a title at the least, functions that its commit changes at the most."
NEARLY = 0.9
"The share of a function's lines with which it counts as shown whole."
NO_TITLE = re.compile(r"(?i)merge|bump|release|version|revert|\[pre-commit")


class AskedTask(NamedTuple):
    """A commit's title as a question, and the lines of what it changed, as before it."""

    before: int
    "The last event before the commit."
    title: str
    module: str
    "The module that was changed; empty where there were several."
    names: Sequence[tuple[str, str]]
    "Path and name of each function that was changed."
    answers: Sequence[Sequence[str]]
    pieces: Sequence[Piece]
    "Every function of the project before the commit."


class Shown(NamedTuple):
    """The shares of what was changed that a context showed, and its tokens that are of tests."""

    whole: float
    signature: float
    tests: float


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    found: dict[Way, list[list[Shown]]] = {}
    hits: dict[tuple[str, str], list[float]] = {}
    for folder in bench.repositories:
        url, task = stored(bench, folder)
        with opened(url) as log:
            asked = _asked(log.store, task, TASKS if bench.full else SOME)
            each = list(_measured(log.store, asked))
            titles = [AskedTitle(one.before, one.title, one.names) for one, _ in asked]
            for way, share in searched(log.store, task, titles, asked[-1][0].pieces):
                hits.setdefault(way, []).append(share)
        bench.say(f"{task}: {len(each)} questions")
        for key in sorted({key for one in each for key in one}):
            found.setdefault(key, []).append([one[key] for one in each if key in one])
    shown = [
        figure
        for of in OF
        for size in SIZES
        for figure in _figures(
            size, of, {way[2]: found[way] for way in found if way[:2] == (size, of)}
        )
    ]
    return [*shown, *search_figures(hits)]


def _figures(
    size: int, of: str, found: Mapping[str, Sequence[Sequence[Shown]]]
) -> Iterator[Figure]:
    for method in sorted(found, key=[OURS, EARLIER, BODIES].index):
        each, ours = found[method], found[OURS]
        count = sum(map(len, each))
        group = f"{size:,} tokens, {count} questions of {len(each)} repositories, asked of {of}"
        all = [one for some in each for one in some]
        less = [
            np.array([mine.whole - theirs.whole for mine, theirs in zip(*pair, strict=True)])
            for pair in zip(ours, each, strict=True)
        ]
        mean, low, high = pooled(less)
        beside = f"Backcast {100 * mean:+.1f} [{100 * low:+.1f} to {100 * high:+.1f}]"
        whole, signature, tests = (100 * np.mean(column) for column in zip(*all, strict=True))
        yield Figure(group, f"{method}: changed functions shown whole", [float(whole)], "%",
                     f"{signature:.1f} % by signature; {tests:.1f} % of its tokens are tests",
                     "" if method == OURS else beside)  # fmt: skip


def _measured(
    store: EventStore, every: Sequence[tuple[AskedTask, KnownState]]
) -> Iterator[dict[Way, Shown]]:
    """Yield what each method shows for each question of a task."""
    tokenizer = tokenizer_of(TOKENIZER)
    counting, kept = Counting(tokenizer), BuildCache(tokenizer, store.get)
    for asked, known in every:
        row = dict[Way, Shown]()
        targets = {PROJECT: ""} | ({MODULE: f"module:{asked.module}"} if asked.module else {})
        for size in SIZES:
            for of, target in targets.items():
                request = Request(target, asked.title)
                for name, policy in POLICIES.items():
                    builder = ContextBuilder(profile_of(size), kept, policy)
                    try:
                        items = builder.build(known.states, known.graph, request).items
                    except BudgetExceededError:  # what must be shown does not fit
                        items = ()
                    row[size, of, name] = _shown(text_of(items, policy), asked, items)
                pieces = [one for one in asked.pieces if asked.module in (one.path, "")]
                pack = Pack(counting, size)
                pack.fill(ranked(pieces if of == MODULE else asked.pieces, asked.title))
                row[size, of, BODIES] = _shown(pack.text(), asked)
        yield row


def _asked(store: EventStore, task: str, count: int) -> Sequence[tuple[AskedTask, KnownState]]:
    """Return the latest questions of a task, with what was known before each."""
    likely = [change for change in changed(store, task) if _is_likely(change)][-LOOKED_AT * count :]
    found = deque[tuple[AskedTask, KnownState]](maxlen=count)
    running = begun(store, task, likely)
    for change in likely:
        running.read_on(change.first - 1)
        known = KnownState(running.states, running.graph)
        running.read_on(change.last)
        names = list(_changed(known, KnownState(running.states, running.graph), change))
        if 1 <= len(names) <= MOST:
            pieces = {(one.path, one.name): one for one in _functions(store, known)}
            answers = [pieces[name].text.split("\n") for name in names]
            own = [one for one in pieces.values() if _is_own(one.path)]
            paths = {path for path, _ in names}
            module = paths.pop() if len(paths) == 1 else ""
            before, title = change.first - 1, _title(change)
            found.append((AskedTask(before, title, module, names, answers, own), known))
    return found


def _is_likely(change: CodeChange) -> bool:
    title = _title(change)
    own = [path for path in change.paths if _is_own(path)]
    return len(title.split()) >= LEAST and not NO_TITLE.match(title) and 1 <= len(own) <= 3


def _title(change: CodeChange) -> str:
    """Return the first line of a commit's message, without the number of its issue."""
    return re.sub(r"\s*\(?#\d+\)?", "", change.words.strip().split("\n")[0]).strip()


def _is_own(path: str) -> bool:
    return is_code(path) and path.split("/")[0] not in ASIDE


def _changed(known: KnownState, after: KnownState, change: CodeChange) -> Iterator[tuple[str, str]]:
    """Yield path and name of each function or method of before that a change touches."""
    old, new = (dependency_graph.present(one.states.graph) for one in (known, after))
    for path in change.paths:
        parsed = path in old and path in new and "error" not in {*old[path], *new[path]}
        for name in names_in(new[path]) if parsed and _is_own(path) else ():
            was = old[path].get(f"sig:{name}", ("",))[0] in ("function", "method")
            if was and differs(old[path], new[path], name):
                yield path, name


def _functions(store: EventStore, known: KnownState) -> Iterator[Piece]:
    """Yield every function and method, tests too, in the text that it has."""
    graph = known.states.graph
    for path, facets in dependency_graph.present(graph).items():
        source = graph.modules[path].source
        lines = store.get(source).decode(errors="replace").split("\n") if source else []
        for name, (first, last) in dependency_graph.lines_of(graph, path).items():
            if facets.get(f"sig:{name}", ("",))[0] in ("function", "method", "test"):
                yield Piece(path, name, "\n".join(lines[first - 1 : last]))


def _shown(context: str, asked: AskedTask, items: Sequence[Item] = ()) -> Shown:
    """Judge a context by its lines, whatever stands around them."""
    held = {line.strip() for line in context.split("\n")}
    whole, signatures = 0, 0
    for answer in asked.answers:
        lines = [line.strip() for line in answer if line.strip()]
        head = next((one for one in lines if one.startswith(("def ", "async def "))), lines[0])
        whole += sum(line in held for line in lines) >= NEARLY * len(lines)
        signatures += head in held
    code = [item for item in items if item.section != "task description"]
    of_tests = sum(item.tokens for item in code if is_test(path_of(item.node)))
    tests = of_tests / (sum(item.tokens for item in code) or 1)
    return Shown(whole / len(asked.answers), signatures / len(asked.answers), tests)
