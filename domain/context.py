"""A prompt's context as a value: candidates, shown items, and omissions with their reasons."""

from typing import NamedTuple

from backcast.domain.compression import CompressedText

PRIORITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
LEVELS = ("full", "part", "summary", "signature", "name")
"Levels of detail, the most detailed first."


class Level(NamedTuple):
    """One form in which something can be shown."""

    name: str
    "One of `LEVELS`."
    text: str
    tokens: int
    gain: float = 1.0
    "The worth of showing this level; more for more detail."


class Candidate(NamedTuple):
    """Something that could be shown."""

    node: str
    section: str
    priority: str
    levels: tuple[Level, ...]
    "Levels, most detailed first; each takes fewer tokens than the one before."
    score: float = 0.0
    "The estimated chance of being needed. Within a rank the highest come first; ties by node."
    because: tuple[int, ...] = ()
    "The versions of the events that it came from."
    place: int = 0
    "Its place in its file, by which items are ordered."
    within: str = ""
    "The node whose full text contains this one's."
    task: str = ""
    "The finished task that contributed it; empty for none."
    version: int = 0
    "The iteration of its module; 0 outside of modules."
    wanted: bool = False
    "Whether only the whole budget can lower it, and not that of its section."
    rank: int = 0
    "Lowest first within a priority. Among CRITICAL candidates the last are lowered first."


class Item(NamedTuple):
    """Something that is shown."""

    node: str
    section: str
    priority: str
    "CRITICAL, HIGH, MEDIUM or LOW."
    level: str
    "name, signature, summary, part or full."
    text: str
    tokens: int
    score: float
    "The chance that it is needed, from 0 to 1."
    because: tuple[int, ...]
    "The numbers of the events that it came from."
    place: int = 0
    "Its place in its file or section: a line, where it is code."
    task: str = ""
    "The other task that left it; empty for the running one's own."
    version: int = 0
    "The event that wrote its text; 0 for none."
    worth: float | None = None
    "What its level is worth per token; None for what must be shown."


class Omission(NamedTuple):
    """Something that is not shown, and why."""

    node: str
    section: str
    reason: str
    score: float | None = None
    "The estimated chance of being needed; None where nobody estimated it."
    worth: float | None = None
    "What it would be worth per token at its best level; None where that did not count."


class LongText(NamedTuple):
    """A text that is offered as its extracts."""

    node: str
    whole: str
    short: CompressedText
    ref: str = ""
    "The blob of the whole where a log has it already."


class Context(NamedTuple):
    """The context of one prompt."""

    messages: tuple[tuple[str, str], ...]
    "Role and text of each message."
    text: str
    "The part of the messages that tells what is known of the code."
    items: tuple[Item, ...]
    "Items in the order in which they are shown."
    omissions: tuple[Omission, ...]
    tokens: int
    "Tokens of the whole rendered prompt, including the chat template's control tokens."
    window: int
    reserve: int
    "Tokens kept free for the answer."
    sections: tuple[tuple[str, int, int], ...]
    "Section, budget, and the tokens of its items."
    digest: str
    "SHA-256 of the rendered prompt."
    long: tuple[LongText, ...] = ()
    "Texts among those shown that are extracts of longer ones."
