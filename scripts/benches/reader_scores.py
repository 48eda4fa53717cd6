"""Scores of readings, kept in a table that grows: none is read twice.

Each row is the body of a task behind a context of a method, read by a model. It has the digests of
prompt and body and sums of tokens and nats: of all tokens, of those of new lines, of those of names
that the project defined. The prompts themselves are made again from the repositories.
"""

import csv
import fcntl
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from backcast.engine.models.likelihood import LikelihoodReader, RenderedPrompt
from scripts.benches.figures import ROOT
from scripts.benches.reader_tasks import ReadTask, identifiers

KEPT = ROOT / "scripts" / "benches" / "reader_scores.csv"
DIGITS = 16
KINDS = ("all", "new", "names")
"Tokens that are summed up: all of them, those of new lines, those of the project's names."


class Reading(NamedTuple):
    """How likely a task's body was to a reader behind a context."""

    reader: str
    size: int
    "The most tokens of the context."
    task: str
    method: str
    prompt: str
    "The first digits of the prompt's digest."
    body: str
    context: int
    "Tokens of the context."
    tokens: int
    nats: float
    new_tokens: int
    new_nats: float
    name_tokens: int
    name_nats: float

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by: reader, prompt and body."""
        return self.reader, self.prompt, self.body


class KeptReadings:
    """A file of readings."""

    def __init__(self, path: Path = KEPT) -> None:
        self.path = path
        self.known: dict[tuple[str, str, str], Reading] = {}
        if path.exists():
            with path.open(newline="") as file:
                rows = csv.DictReader(file)
                self.known = {one.key: one for one in map(_read, rows)}

    def add(self, reading: Reading) -> None:
        """Keep one more at once; others may write to the same file."""
        self.known[reading.key] = reading
        with self.path.open("a", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(Reading._fields)
            writer.writerow(reading)


def key_of(reader: LikelihoodReader, prompt: RenderedPrompt, body: str) -> tuple[str, str, str]:
    """Return what a reading is known by."""
    text = sha256(body.encode(errors="surrogatepass")).hexdigest()
    return reader.model.split()[0], prompt.digest[:DIGITS], text[:DIGITS]


def reading_of(
    reader: LikelihoodReader,
    prompt: RenderedPrompt,
    task: ReadTask,
    method: str,
    size: int,
    context: str,
) -> Reading:
    """Read a task's body behind a prompt."""
    found = reader.read(prompt, task.body)
    starts = line_starts(task.body)
    # In bytes, as tokens are; names are looked for by character.
    names = [
        (len(task.body[:begin].encode()), len(task.body[:end].encode()))
        for name, begin, end in identifiers(task.body)
        if name in task.names
    ]
    counts, nats_of = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0.0)
    at = -found.before
    for piece, nats in zip(found.pieces, found.nats, strict=True):
        begin, end = max(0, at), at + len(piece)
        at = end
        blank = begin + len(piece) - len(piece.lstrip()) if piece.strip() else begin
        line = max(number for number, start in enumerate(starts) if start <= max(0, blank))
        kinds = ["all", *(["new"] if task.new[line] else [])]
        if any(begin < last and first < end for first, last in names):
            kinds.append("names")
        for kind in kinds:
            counts[kind] += 1
            nats_of[kind] += nats
    name, digest, body = key_of(reader, prompt, task.body)
    sums = {kind: round(float(total), 4) for kind, total in nats_of.items()}
    return Reading(
        reader=name, size=size, task=task.id, method=method, prompt=digest, body=body,
        context=reader.count(context), tokens=counts["all"], nats=sums["all"],
        new_tokens=counts["new"], new_nats=sums["new"], name_tokens=counts["names"],
        name_nats=sums["names"],
    )  # fmt: skip


def line_starts(text: str) -> list[int]:
    """Return the offset of each line of a text in bytes."""
    starts = [0]
    for line in text.encode().split(b"\n")[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    return starts


def _read(row: Mapping[str, str]) -> Reading:
    kinds = Reading.__annotations__
    return Reading(*(kinds[name](row[name]) for name in Reading._fields))


def by_method(readings: Iterable[Reading], reader: str, size: int) -> dict[str, dict[str, Reading]]:
    """Return readings of a reader and a size by method and task."""
    found: dict[str, dict[str, Reading]] = {}
    for one in readings:
        if (one.reader, one.size) == (reader, size):
            found.setdefault(one.method, {})[one.task] = one
    return found
