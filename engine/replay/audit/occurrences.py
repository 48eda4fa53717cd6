"""The values that describe a node's life: occurrences, and the standing they sum up to."""

from datetime import datetime
from typing import NamedTuple

IN, WITHIN, OUT = "shown", "within", "omitted"
"How a prompt dealt with a node; a prompt with none of them did not offer it."


class Occurrence(NamedTuple):
    """Something that happened to a node."""

    event: int
    "Version of the event in its task, as `backcast log` and `context --event` name it."
    timestamp: datetime
    what: str
    """recorded (first), changed, unchanged (a module that was written again as it was), renamed,
    deleted, back; unknown where no outline tells what a version of the module changed; summarised,
    stale, holds again, superseded; shown, within, omitted; asked for; failed, passed, mended;
    complete."""
    who: str = ""
    "Writer of the event, or the summariser."
    told: str = ""
    "Details in words: an iteration, a summary's text, a proof, a reason, a message."
    of: int = 0
    "Version of the summary that went stale or was replaced; 0 for none."
    facets: tuple[str, ...] = ()
    "Facets of the node that changed: keys as in `backcast.domain.outline`, sorted."
    asked: str = ""
    "Purpose of a prompt: plan, code or summary; empty where unknown."
    target: str = ""
    "Node that a prompt was for."
    section: str = ""
    level: str = ""
    "Level at which a prompt showed the node, or the node around it."
    tokens: int | None = None
    "Tokens of a summary, or of the item that a prompt showed."
    found: str = ""
    "Source of the item shown: online, offline or made."
    task: str = ""
    "Finished task that contributed the item shown."
    within: str = ""
    "Node whose full text held this one."
    text: str | None = None
    "Blob reference of the text shown."


class Standing(NamedTuple):
    """The sum of a life at a moment. Every prompt counts once, in one of the last four fields.

    A prompt names only its first omissions; a node that it does not name counts as not offered.
    """

    node: str
    state: str
    """there; stale (there, but none of the summaries that were written holds); deleted; of a task
    also complete or failed, of a failure also over, of an iteration also superseded; unknown where
    the log tells nothing of it but what was said or shown."""
    versions: int
    "Times it was recorded, changed, renamed or came back."
    summaries: int
    "Summaries written."
    holding: int
    "Summaries that hold: the last of each summariser, unless stale, outlived or superseded."
    shown: int
    within: int
    omitted: int
    not_offered: int


class Life(NamedTuple):
    """The occurrences of a node in log order, and its standing."""

    occurrences: tuple[Occurrence, ...]
    standing: Standing
