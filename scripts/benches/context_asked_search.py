"""What a search by words finds, with and without the words of code.

It is asked the titles of commits, as of before them, and what messages say: strings of a function
that raises, fails, warns or logs, of four words or more, without what is filled in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from backcast.domain.moment import Moment
from backcast.domain.node import name_of, path_of
from backcast.engine.context.search import Document
from backcast.engine.context.search.code_words import CodeWords, SearchWords
from backcast.engine.context.search.questions import found_by_words
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.interfaces.summaries import documents
from backcast.engine.log.store import EventStore
from scripts.benches.context_pack import Piece
from scripts.benches.figures import Figure

FIRST = 10
LEAST, SOME = 4, 20
"Words of a message at the least, and messages of a repository."
TITLES, MESSAGES = "titles of commits: changed functions", "messages: functions that print them"
MESSAGE = re.compile(
    r"""(?:raise|fail|error|warn|log)[^\n]*\n?[^\n]*?["']([A-Za-z][^"'\n]{18,})["']"""
)
FILLED = re.compile(r"\{[^}]*\}|%\w")


class AskedTitle(NamedTuple):
    """A commit's title as a question."""

    before: int
    "The last event before the commit."
    title: str
    names: Sequence[tuple[str, str]]
    "Path and name of each function that it changed."


def search_figures(hits: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Figure]:
    """Yield the rows of the table, of the shares that each search found."""
    for (of, by), shares in hits.items():
        group = f"the first {FIRST} of a search by words, for {len(shares)} {of}"
        yield Figure(group, by, [100 * float(np.mean(shares))], "%")


def searched(
    store: EventStore, task: str, asked: Sequence[AskedTitle], pieces: Sequence[Piece]
) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the share of what was changed, or prints a message, that each search found.

    `pieces` are the project's functions before the last of the commits.
    """
    code = CodeWords(store.get, WordCounts())
    ways = {"by summaries and code": SearchWords(WordCounts(), code),
            "by summaries alone": SearchWords(WordCounts())}  # fmt: skip
    recent, known = RecentStates(), list[Document]()
    for one in asked:
        place = store.read(task, after=one.before - 1, last=one.before)
        moment = Moment(position=next(iter(place)).position)
        known = documents(store, task, moment, recent)
        for by, words in ways.items():
            hits = found_by_words(known, one.title, FIRST, words)
            found = {(path_of(hit.id), name_of(hit.id)) for hit in hits}
            yield (TITLES, by), len(found.intersection(one.names)) / len(one.names)
    for node, message in _messages(pieces):
        for by, words in ways.items():
            hits = found_by_words(known, message, FIRST, words)
            yield (MESSAGES, by), float(node in {hit.id.partition(":")[2] for hit in hits})


def _messages(pieces: Sequence[Piece]) -> Sequence[tuple[str, str]]:
    """Return messages that functions print, without what is filled in, and path and name."""
    found = [
        (f"{piece.path}::{piece.name}", " ".join(FILLED.sub(" ", message).split()))
        for piece in pieces
        for message in MESSAGE.findall(piece.text)
    ]
    wordy = [one for one in found if len(one[1].split()) >= LEAST]
    return Random(1).sample(wordy, min(SOME, len(wordy)))
