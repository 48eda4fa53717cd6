"""The lines that earlier tasks left and later code used, as far as a prompt for it shows them.

Pairs come from `memory_pairs`. Each prompt is asked for in a log of finished tasks: that of its
pair, and `OTHERS` more from the same history, of commits before the later one. A pair is shown
where the context holds at least half of the lines that came back. None of these lines is in the
tree or in the request, so that without memory nothing could be shown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches import memory_prompts
from scripts.benches.context_bm25 import ranked
from scripts.benches.context_gold import Asked as AskedGold
from scripts.benches.context_gold import Gold, Resolver
from scripts.benches.context_ours import TOKENIZER
from scripts.benches.context_pack import Counting, Pack, Piece
from scripts.benches.context_peers import Parent, view_of
from scripts.benches.context_score import seen
from scripts.benches.context_tasks import Sources, Task
from scripts.benches.context_trees import Repository
from scripts.benches.control import control, started
from scripts.benches.figures import ROOT, Bench, Bound, Figure
from scripts.benches.memory_pairs import MOST, VERSION, Pair, pairs_of, steps_of
from scripts.benches.peer import Peer

GROUP = "what earlier tasks left and later code used, 4,000 tokens of context in a window of 8K"
BEFORE = "7315894"
"The commit before earlier tasks were shown with content."
OTHERS = 10
"Further finished tasks of a log."
TOKENS = 4_000
HALF = 0.5
"The share of the lines that came back from which on a pair is shown."
PAIRS, EACH = 20, 3
"Pairs in all and of one repository."
OURS, CONTROL, BM25, ALONE = "ours", f"code of {BEFORE}", "BM25 of tree and tasks", "no tasks"


class Case(NamedTuple):
    """A pair as a task with its log."""

    repository: Repository
    pair: Pair
    task: Task
    earlier: tuple[str, ...]
    "The commits of the finished tasks, the oldest first."


class Seen(NamedTuple):
    """What a context shows."""

    lines: float
    "The share of the lines that came back."
    needed: float
    "The share of the definitions that the later code uses whose signature is there."
    over: bool


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    each = [cases_of(bench, Repository(folder)) for folder in bench.repositories]
    cases = [case for some in each for case in some][:PAIRS]
    bench.say(f"{len(cases)} pairs of {len(each)} repositories")
    found: dict[str, list[Seen]] = {OURS: [], CONTROL: [], BM25: [], ALONE: []}
    with control(bench, BEFORE) as old, _started(old.tree) as before, _started(None) as now:
        for case in cases:
            for arm, text, over in _contexts(bench, case, before, now):
                found[arm].append(judged(case, text, over))
            bench.say(f"{case.pair.id}: " + ", ".join(
                f"{arm} {some[-1].lines:.0%}" for arm, some in found.items()))  # fmt: skip
    return list(_figures(cases, found))


def cases_of(bench: Bench, repository: Repository) -> list[Case]:
    """Return the newest pairs of a repository, at most `EACH`; they are kept in a file."""
    kept = bench.folder / f"pairs-{repository.name}-{repository.head()[:12]}-{VERSION}.json"
    if not kept.exists():
        bench.say(f"{repository.name}: looking for pairs")
        pairs = [pair for pair in pairs_of(repository) if _is_whole(repository, pair)]
        kept.write_text(json.dumps([_case(bench, repository, pair) for pair in pairs[-EACH:]]))
    return [_read(repository, *values) for values in json.loads(kept.read_text())]


def _read(repository: Repository, pair: list[Any], task: list[Any], earlier: list[str]) -> Case:
    gold = tuple(Gold._make((*one[:-1], tuple(one[-1]))) for one in task[-1])
    found = Pair._make(pair)
    shared = tuple(found.shared)
    return Case(
        repository, found._replace(shared=shared), Task._make((*task[:-1], gold)), tuple(earlier)
    )


def _is_whole(repository: Repository, pair: Pair) -> bool:
    """Return whether the earlier commit made few modules, as a task does."""
    listed = repository.git("diff-tree", "-r", "--root", "-m", "--first-parent", "--name-only",
                            "--no-commit-id", pair.earlier).split("\n")  # fmt: skip
    return 0 < len([path for path in listed if path.endswith(".py")]) <= MOST


def _case(bench: Bench, repository: Repository, pair: Pair) -> tuple[Pair, Task, tuple[str, ...]]:
    """Return a pair, its later task, and the commits of the finished tasks of its log."""
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    sources = Sources(repository)
    before, after = repository.tree(pair.parent), repository.tree(pair.later)
    source = sources.of(after[pair.path])
    symbol = source.symbols[pair.name]
    old = sources.of(before[pair.path]) if pair.path in before else None
    past = old.full(old.symbols[pair.name]) if old and pair.name in old.symbols else ""
    wanted = AskedGold(pair.path, symbol, source, before, after)
    gold = Resolver(repository, work).gold(wanted, sources.of)
    message = repository.git("log", "-1", "--format=%B", pair.later).strip()
    task = Task(pair.later, pair.parent, pair.path, pair.name, not past, message,
                source.signature(symbol), source.docstring(symbol), past, gold)  # fmt: skip
    order = [step.sha for step in steps_of(repository) if 0 < len(step.changes) <= MOST]
    end = order.index(pair.later)
    others = [order[end * number // OTHERS] for number in range(OTHERS)]
    chosen = sorted({*others, pair.earlier} - {pair.later}, key=order.index)
    return pair, task, tuple(chosen)


def _started(tree: Path | None) -> Peer:
    script = Path(memory_prompts.__file__)
    return started(script, tree or ROOT)


def _contexts(bench: Bench, case: Case, before: Peer, now: Peer) -> Iterator[tuple[str, str, bool]]:
    """Yield the name, text and excess of each method's context."""
    asked = {"repository": str(case.repository.folder.resolve()), "tokens": TOKENS,
             "folder": str(bench.folder.resolve()), "task": list(case.task)}  # fmt: skip
    for arm, peer, earlier in (
        (OURS, now, case.earlier), (CONTROL, before, case.earlier), (ALONE, now, ()),
    ):  # fmt: skip
        answer = peer.ask("context", earlier=list(earlier), **asked)
        yield arm, answer["text"], answer["over"]
    yield BM25, bm25(case), False


def bm25(case: Case) -> str:
    """Return the functions of the tree and of earlier tasks that are likest to the request."""
    sources = Sources(case.repository)
    pieces = list(Parent(case.repository, sources, case.task).bodies)
    for sha in case.earlier:
        before, after = memory_prompts.tree_before(case.repository, sha), case.repository.tree(sha)
        for path, oid in after.items():
            if before.get(path) != oid:
                made = view_of(f"{sha[:10]}/{path}", sources.of(oid)).bodies
                pieces += [Piece(piece.path, piece.name, piece.text) for piece in made]
    pack = Pack(Counting(tokenizer_of(TOKENIZER)), TOKENS)
    pack.fill(ranked(pieces, case.task.request))
    return pack.text()


def judged(case: Case, text: str, over: bool) -> Seen:
    """Return what a context shows; a patch's marks before its lines do not count."""
    said = {line.strip() for line in case.task.request.split("\n")}
    wanted = [line for line in case.pair.shared if line not in said]
    shown = {line.strip().removeprefix("+").strip() for line in text.split("\n")}
    lines = sum(line in shown for line in wanted) / len(wanted) if wanted else 0.0
    gold = case.task.gold
    needed = sum(one.signature for one in seen(text, gold)) / len(gold) if gold else 1.0
    return Seen(lines, needed, over)


def _figures(cases: Sequence[Case], found: Mapping[str, Sequence[Seen]]) -> Iterator[Figure]:
    details = {
        case.pair.id: {arm: some[number]._asdict() for arm, some in found.items()}
        for number, case in enumerate(cases)
    }
    shown = {arm: [float(one.lines >= HALF) for one in some] for arm, some in found.items()}
    yield _row(f"pairs shown, of {len(cases)}", shown)._replace(
        must=Bound(">=", 30), aim=Bound(">=", 60), details=details
    )
    for kind in ("solution", "fix"):
        picked = [number for number, case in enumerate(cases) if case.pair.kind == kind]
        some = {arm: [values[number] for number in picked] for arm, values in shown.items()}
        yield _row(f"of them a {kind} that comes back, of {len(picked)}", some)
    lines = {arm: [one.lines for one in some] for arm, some in found.items()}
    yield _row("lines that came back and are shown", lines)
    needed = {arm: [one.needed for one in some] for arm, some in found.items()}
    yield _row("needed definitions of the tree by their signature", needed)
    over = sum(one.over for one in found[OURS])
    yield Figure(GROUP, "contexts over their tokens", [over], "contexts", must=Bound("<=", 0))


def _row(what: str, values: Mapping[str, Sequence[float]]) -> Figure:
    """Return the mean of our values in percent, beside those of the others."""
    means = {arm: 100 * sum(some) / len(some) for arm, some in values.items() if some}
    beside = "; ".join(f"{arm} {mean:.0f} %" for arm, mean in means.items() if arm != OURS)
    return Figure(GROUP, what, [means[OURS]] if means else [], "%", control=beside)
