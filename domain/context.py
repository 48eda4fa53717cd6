"""What a model is shown, as a value: what could be, what is, and what is not and why."""

from typing import NamedTuple

PRIORITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
LEVELS = ("full", "summary", "signature", "name")
"Levels of detail, the most detailed first."


class Level(NamedTuple):
    """One way to show something."""

    name: str
    "One of `LEVELS`."
    text: str
    tokens: int
    gain: float = 1.0
    "What showing it so is worth, beside all else; more for more detail."


class Candidate(NamedTuple):
    """Something that could be shown."""

    node: str
    section: str
    priority: str
    levels: tuple[Level, ...]
    "The most detailed first; each takes fewer tokens than the one before."
    score: float = 0.0
    "How likely it is to be needed. Within a rank the highest come first; ties by node."
    because: tuple[int, ...] = ()
    "The versions of the events that it came from."
    place: int = 0
    "Where it stands in its file, which orders what is shown."
    within: str = ""
    "The node whose full text holds that of this one."
    task: str = ""
    "The finished task that left it; empty where none did."
    version: int = 0
    "The iteration of the module that it is or is in; 0 for what is in none."
    wanted: bool = False
    "Whether the budget of its section does not lower it, only that of the whole."
    rank: int = 0
    "Within a priority the lowest come first. Of what is CRITICAL the last are lowered first."


class Item(NamedTuple):
    """Something that is shown."""

    node: str
    section: str
    priority: str
    level: str
    text: str
    tokens: int
    score: float
    because: tuple[int, ...]
    place: int = 0
    task: str = ""
    version: int = 0


class Omission(NamedTuple):
    """Something that is not shown, and why."""

    node: str
    section: str
    reason: str


class Context(NamedTuple):
    """What a model is shown."""

    messages: tuple[tuple[str, str], ...]
    "Role and text."
    text: str
    "Of the messages, what is known of the code alone."
    items: tuple[Item, ...]
    "In the order in which they are shown."
    omissions: tuple[Omission, ...]
    tokens: int
    "Of the whole rendered prompt, the chat template's control tokens included."
    window: int
    reserve: int
    "Tokens kept free for the answer."
    sections: tuple[tuple[str, int, int], ...]
    "Section, its budget, and the tokens that its items take."
    digest: str
    "SHA-256 of the rendered prompt."
