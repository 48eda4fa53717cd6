"""What is a prompt of an agent made of? Parts in order, each with its role, kind and turn.

>>> part = MessagePart("tool", "result", "3 passed", tokens=3, turn=2, tool="bash", call="c1")
>>> part._replace(state="masked").title
'result bash, turn 2'
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Count = Callable[[str], int]
"Counts the tokens of a text."

RESULT, CALL, MESSAGE, THINKING, SUMMARY = "result", "call", "message", "thinking", "summary"
MASKED, OFFLOADED, SUPERSEDED, COMPACTED = "masked", "offloaded", "superseded", "compacted"
COMPRESSED = "compressed"
REF = len("blob:") + 12
"Characters of a blob's name by which a shown line calls it."
SHOWN = 100
"Characters of a call that a line shows."


class FileRead(NamedTuple):
    """A read of a file."""

    path: str
    first: int | None = None
    "The first line that was asked for; None for the whole file."
    last: int | None = None
    exact: str = ""
    "The call itself, where it does not tell the lines: only an equal one reads the same."

    def covers(self, other: "FileRead") -> bool:
        """Return whether it shows all that another one showed."""
        if self.path != other.path:
            return False
        if self.exact or other.exact:
            return self.exact == other.exact or not (self.exact or self.first)
        if self.first is None or other.first is None:
            return self.first is None
        ends = self.last is None or (other.last is not None and other.last <= self.last)
        return self.first <= other.first and ends


class MessagePart(NamedTuple):
    """A part of a prompt."""

    role: str
    kind: str
    "system, tool, message, reminder, thinking, call, result, image, file or summary."
    text: str
    tokens: int = 0
    turn: int = 0
    "The number of the model's answer that it belongs to; 0 for all that came before the first."
    tool: str = ""
    call: str = ""
    "What a call and its results have in common."
    arguments: str = ""
    "The call of a result, in a line."
    ref: str = ""
    "The name of the blob that holds its text; empty where there is none."
    failed: bool = False
    reads: FileRead | None = None
    "The file that a result shows."
    writes: str = ""
    "The path of the file that a result's call changed."
    whole: bool = False
    "Whether the call itself holds the whole text that it wrote."
    leaves: str = ""
    "The name of the blob that holds the changed file, where the log knows its text."
    state: str = ""
    "masked, offloaded, superseded, compacted or compressed; empty for a part as it was."
    event: int = 0
    "The event that tells it; 0 where a recorded request holds it."

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        named = f" {self.tool}" if self.tool else ""
        role = f"{self.role} " if self.kind == MESSAGE else ""
        return f"{role}{self.kind}{named}, turn {self.turn}"

    @property
    def name(self) -> str:
        """The name of its blob, as short as `backcast cat` takes it."""
        return self.ref[:REF]


def shown_call(part: MessagePart, most: int = SHOWN) -> str:
    """Return the call of a result in a line.

    >>> shown_call(MessagePart("tool", "result", "", tool="bash", arguments="ls   -la"))
    'bash ls -la'
    """
    named = part.tool and part.arguments.startswith(f"{part.tool} ")  # as SWE-agent names its own
    words = part.arguments if named else f"{part.tool or 'a tool'} {part.arguments}"
    return cut_inside(" ".join(words.split()), most)


def cut_inside(line: str, most: int) -> str:
    """Return a line without its middle where it is too long: both ends of a call tell more.

    >>> cut_inside("read /home/ann/shop/till.py", 20)
    'read /hom…op/till.py'
    """
    if len(line) <= most:
        return line
    begin = (most - 1) // 2
    return f"{line[:begin]}…{line[len(line) - (most - 1 - begin) :]}"


def in_line(part: MessagePart, state: str, count: Count, more: str = "") -> MessagePart:
    """Return a result as one line, where that is shorter than the result."""
    failed = ", failed" if part.failed else ""
    where = f"; {part.name}" if part.ref else ""
    text = f"[result of {shown_call(part)}: {part.tokens:,} tokens{failed}, {state}{more}{where}]"
    return shorter(part, text, state, count)


def shorter(part: MessagePart, text: str, state: str, count: Count) -> MessagePart:
    """Return a part with another text, where that has fewer tokens."""
    tokens = count(text)
    return part._replace(text=text, tokens=tokens, state=state) if tokens < part.tokens else part


def total(parts: Sequence[MessagePart]) -> int:
    """Return the tokens of some parts."""
    return sum(part.tokens for part in parts)
