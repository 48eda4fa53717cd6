"""Facts with time: those that we found ourselves, beside the repository; and their retrieval.

A history is imported as people do it. Facts as of commits drawn by a seed are held against `git
show` and Python's own parser; and the other way round, what these say of the imports and functions
of drawn files against the facts. Questions are made from the log, with the fold as the oracle: a
text answers one where it holds the object of the fact that was asked for. Beside it BM25 gets the
same tokens of the raw log's lines up to the same moment, in pieces, sources included.
"""

import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from backcast.domain.events import (
    Committed,
    ModuleIteration,
    WorkflowEvent,
    line_of,
)
from backcast.domain.json_text import json_text
from backcast.domain.node import name_of, path_of
from backcast.domain.timed_facts import TimedFact, holding
from backcast.engine.context.fact_rows import retrieved, row_text
from backcast.engine.context.search import Document, search, search_words, sentence_embedder
from backcast.engine.context.search.code_words import SearchWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.interfaces.profiles import DEFAULT_PROFILE
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of
from backcast.engine.workflow.runtime import profile_named
from backcast.projections import facts, fold
from scripts.benches.facts_oracle import GitOracle, definitions, imports_of
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.workload import open_store

COMMITS, FACTS, FILES = 12, 60, 8
"Commits that are drawn, and facts and files of each."
QUESTIONS, TOKENS = 50, 500
PIECE = 700
"Characters of a piece of the raw log."
ROUNDS = 5
GROWTH = (16, 4, 1)
"The fold is timed on the first part of a log of so many, in turns."


class FactQuestion(NamedTuple):
    """A question about a moment, with the words that answer it."""

    text: str
    answer: str
    place: int


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--embedder", metavar="NAME", help="retrieve facts by meaning, too")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> Iterator[Figure]:
    name = repository.resolve().name
    name = repository.resolve().parent.name.partition("+")[2] if name == "repo" else name
    path = _imported(bench, repository, name)
    with open_store(path) as store:
        events = list(store.read(name))
        slots = fold(facts, events).slots
        commits = _ends(events)
        bench.say(f"{name}: {len(events):,} events, {len(commits):,} commits, {len(slots):,} slots")
        yield from _truth(name, repository, slots, commits)
        yield from _growth(name, events)
        yield from _retrieval(bench, name, store, events, slots)


def _imported(bench: Bench, repository: Path, name: str) -> Path:
    head = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    path = bench.folder / f"facts-{name}-{head[:12]}.db"
    if not path.exists():
        bench.say(f"import of {repository}")
        for command in (["import", "git", str(repository), "--as", name], ["outline", name]):
            subprocess.run([str(Path(sys.executable).parent / "backcast"), *command],
                           env=os.environ | {"BACKCAST_STORE": f"sqlite:///{path}"},
                           check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return path


def _ends(events: Sequence[WorkflowEvent]) -> list[tuple[str, int]]:
    """Return each commit with the version of the last event that belongs to it."""
    starts = [(event.fact.sha, event.version) for event in events
              if isinstance(event.fact, Committed)]  # fmt: skip
    ends = [version - 1 for _, version in starts[1:]] + [events[-1].version]
    return [(sha, end) for (sha, _), end in zip(starts, ends, strict=True)]


# Truth


def _truth(
    name: str, repository: Path, slots: object, commits: Sequence[tuple[str, int]]
) -> Iterator[Figure]:
    draw, oracle = Random(26), GitOracle(repository)
    right, asked, wrong = Counter[str](), Counter[str](), list[str]()
    there, wanted = 0, 0
    for sha, place in sorted(draw.sample(list(commits), min(COMMITS, len(commits)))):
        known = [fact for fact in holding(slots, None, place) if fact.found]  # type: ignore[arg-type]
        by_relation: dict[str, list[TimedFact]] = {}
        for fact in known:
            by_relation.setdefault(fact.relation, []).append(fact)
        for relation, own in sorted(by_relation.items()):
            for fact in draw.sample(own, min(len(own), FACTS // 6)):
                verdict = oracle.holds(sha, fact.subject, relation, fact.object)
                if verdict is not None:
                    asked[relation] += 1
                    right[relation] += verdict
                    if not verdict:
                        wrong.append(f"{sha[:10]} {fact.line}")
        found, expected = _complete(oracle, sha, known, draw)
        there, wanted = there + found, wanted + expected
    for line in wrong[:20]:
        print(f"bench: wrong: {line}", file=sys.stderr)
    words = ", ".join(
        f"{relation} {right[relation]}/{asked[relation]}" for relation in sorted(asked)
    )
    yield Figure(
        f"facts of {name}", "found facts that git and ast confirm",
        [100 * right.total() / max(1, asked.total())], "%", words,
        control="git show, ast", must=Bound(">=", 100), details={"wrong": wrong},
    )  # fmt: skip
    yield Figure(
        f"facts of {name}", "imports and definitions of drawn files that are facts",
        [100 * there / max(1, wanted)], "%", f"{there:,} of {wanted:,}", control="git show, ast",
        aim=Bound(">=", 99),
    )  # fmt: skip


def _complete(
    oracle: GitOracle, sha: str, known: Sequence[TimedFact], draw: Random
) -> tuple[int, int]:
    """Return how many imports and definitions of some files are facts, and how many there are."""
    paths = sorted({path_of(fact.subject) for fact in known if fact.subject.startswith("module:")
                    and path_of(fact.subject).endswith(".py") and fact.relation == "text"
                    and "sha256" in fact.object})  # fmt: skip
    found = {(path_of(fact.subject), fact.object) for fact in known if fact.relation == "imports"}
    found |= {(path_of(fact.subject), f"def {name_of(fact.subject)}") for fact in known
              if fact.relation == "signature"}  # fmt: skip
    count = total = 0
    for path in draw.sample(paths, min(len(paths), FILES)):
        tree = oracle.tree(sha, path)
        if tree is None:
            continue
        outer = [name for name, _ in definitions(tree) if "." not in name]
        wanted = {(path, name) for name in imports_of(tree)}
        wanted |= {(path, f"def {name}") for name in outer}
        count, total = count + len(wanted & found), total + len(wanted)
        for _, name in sorted(wanted - found)[:3]:
            print(f"bench: no fact: {sha[:10]} {path} {name}", file=sys.stderr)
    return count, total


# Time


def _growth(name: str, events: Sequence[WorkflowEvent]) -> Iterator[Figure]:
    parts = [events[: len(events) // share] for share in GROWTH]
    times: list[list[float]] = [[] for _ in parts]
    for _ in range(ROUNDS):
        for taken, part in zip(times, parts, strict=True):
            begin = time.process_time()
            fold(facts, part)
            taken.append(1e6 * (time.process_time() - begin) / max(1, len(part)))
    for share, taken, part in zip(GROWTH, times, parts, strict=True):
        yield Figure(
            f"facts of {name}", f"fold of {16 // share}x events", taken, "us/event",
            f"{len(part):,} events",
        )  # fmt: skip


# Retrieval


def _questions(events: Sequence[WorkflowEvent], slots: object, draw: Random) -> list[FactQuestion]:
    """Return questions about moments all over the log, each with one answer."""
    asked = list[FactQuestion]()
    places = [event.version for event in events if isinstance(event.fact, ModuleIteration)]
    while len(asked) < QUESTIONS:
        place = draw.choice(places[len(places) // 4 :])
        known = [fact for fact in holding(slots, None, place)  # type: ignore[arg-type]
                 if fact.relation in ASK and len(fact.object) > 3]  # fmt: skip
        if not known:
            continue
        relation = draw.choice(sorted({fact.relation for fact in known}))
        fact = draw.choice([fact for fact in known if fact.relation == relation])
        name = name_of(fact.subject) or path_of(fact.subject)
        text = ASK[relation].format(name=name.partition("#")[0], path=path_of(fact.subject))
        asked.append(FactQuestion(text, fact.object, place))
    return asked


ASK = {
    "imports": "Which modules does {path} import?",
    "signature": "What are the parameters of {name} in {path}?",
    "inherits": "Which class is the base of {name} in {path}?",
    "value": "What is the value of the constant {name} in {path}?",
    "raises": "Which exceptions does {name} in {path} raise?",
    "doc": "What is {name} in {path} for, by its docstring?",
    "text": "Which commit wrote the present text of {path}, and which iteration is it?",
}


def _retrieval(
    bench: Bench, name: str, store: EventStore, events: Sequence[WorkflowEvent], slots: object
) -> Iterator[Figure]:
    counter = tokenizer_of(counted_by(profile_named(DEFAULT_PROFILE).tokenizer))
    asked = _questions(events, slots, Random(500))
    bench.say(f"{name}: {len(asked)} questions")
    pieces = list(_pieces(store, events))
    embedder = bench.options.embedder
    ranking = partial(search, store, sentence_embedder(embedder)) if embedder else None
    ours, bm25, counted, meant = 0, 0, SearchWords(WordCounts()), 0
    spent = list[int]()
    times = list[float]()
    for question in asked:
        known = holding(slots, None, question.place)  # type: ignore[arg-type]
        begin = time.perf_counter()
        chosen = retrieved(known, question.text, TOKENS, counter.count)
        times.append(1e3 * (time.perf_counter() - begin))
        text = row_text(chosen)
        spent.append(counter.count(text))
        ours += question.answer in text
        if ranking:
            both = retrieved(known, question.text, TOKENS, counter.count, ranking)
            meant += question.answer in row_text(both)
        raw = [piece for version, piece in pieces if version <= question.place]
        found = _raw(raw, question.text, counter, counted)
        bm25 += _squeezed(question.answer) in _squeezed(found)
    yield Figure(
        f"facts of {name}", f"questions that {TOKENS} tokens of facts answer",
        [100 * ours / len(asked)], "%", f"{ours} of {len(asked)}, most tokens {max(spent)}",
        control=f"BM25 over the raw log {bm25} of {len(asked)}",
        must=Bound(">=", 100 * bm25 / len(asked)),
    )  # fmt: skip
    if ranking:
        yield Figure(f"facts of {name}", "by words and meaning", [100 * meant / len(asked)],
                     "%", f"{meant} of {len(asked)}", f"by words alone {ours}")  # fmt: skip
    yield Figure(f"facts of {name}", "time of a retrieval", times, "ms", f"{len(slots):,} slots")  # type: ignore[arg-type]


def _pieces(store: EventStore, events: Sequence[WorkflowEvent]) -> Iterator[tuple[int, str]]:
    """Yield the raw log as pieces of its lines, each text beside the event that brought it."""
    for event in events:
        line = json_text(line_of(event))
        if isinstance(event.fact, ModuleIteration) and event.fact.source:
            body = store.get(event.fact.source).decode(errors="replace")
            line += f"\n{body}" if "\0" not in body else ""
        head = f"{event.type} {event.fact.data.get('module_name', '')}\n"
        for begin in range(0, len(line), PIECE):
            yield event.version, (head if begin else "") + line[begin : begin + PIECE]


def _raw(pieces: Sequence[str], query: str, counter: Tokenizer, counted: SearchWords) -> str:
    documents = [Document(f"{number:07}", piece) for number, piece in enumerate(pieces)]
    text = ""
    for hit in search_words(documents, query, 20, counted):
        more = f"{text}\n{pieces[int(hit.id)]}"
        if counter.count(more) > TOKENS:
            break
        text = more
    return text


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\"\\]+", "", text)
