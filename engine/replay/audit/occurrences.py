"""What can be told of a node's life, as values."""

from datetime import datetime
from typing import NamedTuple

IN, WITHIN, OUT = "shown", "within", "omitted"
"How a prompt can have dealt with a node; one that did none of it did not offer the node."


class Occurrence(NamedTuple):
    """Something that happened to a node."""

    event: int
    "The version of the event in its task, as `backcast log` and `context --event` name it."
    timestamp: datetime
    what: str
    """recorded (first), changed, unchanged (a module that was written again as it was), renamed,
    deleted, back; unknown where no outline tells what a version of the module changed; summarised,
    stale, holds again, superseded; shown, within, omitted; asked for; failed, passed, mended;
    complete."""
    who: str = ""
    "Who wrote it."
    told: str = ""
    "The rest in words: which iteration, what a summary says, a proof, a reason, a message."
    of: int = 0
    "Another event that it is about: the summary that went stale, what is replaced; 0 for none."
    facets: tuple[str, ...] = ()
    "What of the node changed: keys as in `backcast.domain.outline`, sorted."
    asked: str = ""
    "What a prompt was for: plan, code or summary; empty where the log does not tell."
    target: str = ""
    "The node that a prompt was for."
    section: str = ""
    level: str = ""
    "The level at which a prompt showed it, or showed what it is within."
    tokens: int | None = None
    "Of a summary, or of what a prompt showed."
    found: str = ""
    "Where what was shown was found: online, offline or made."
    task: str = ""
    "The finished task that left what was shown."
    within: str = ""
    "The node whose full text held this one."
    text: str | None = None
    "The blob of what was shown."


class Standing(NamedTuple):
    """What a life came to, at the moment asked. Every prompt counts once, in one of the last four.

    A prompt names only the first of what it leaves out: what it does not name counts as not
    offered.
    """

    node: str
    state: str
    """there; stale (there, but none of the summaries that were written holds); deleted; of a task
    also complete or failed, of a failure also over, of an iteration also superseded; unknown where
    the log tells nothing of it but what was said or shown."""
    versions: int
    "How often it was recorded, changed, renamed or came back."
    summaries: int
    "How many were written."
    holding: int
    "How many of those hold: the last of each summariser, unless stale, outlived or superseded."
    shown: int
    within: int
    omitted: int
    not_offered: int


class Life(NamedTuple):
    """All that a log tells of a node, in log order, and what it came to."""

    occurrences: tuple[Occurrence, ...]
    standing: Standing
