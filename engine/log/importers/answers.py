"""StreamedAnswers of a model that a log tells in several lines, so that each counts once.

Claude Code writes a line for each block of an answer as it comes (thoughts, text, calls), and all
of them carry the answer's id and its usage. The first line with more than thoughts becomes the
reply; the lines before and after it are parts of it. What a line becomes depends on the lines
before it alone, so an import can stop between two of them.
"""

from typing import Any

from backcast.engine.log.importers.content import mapping, sequence, string

THOUGHTS = ("thinking", "redacted_thinking")
RECENT = 500
"Answers that are remembered; the lines of an answer stand near each other."


class StreamedAnswer:
    """An answer as far as it is known."""

    __slots__ = ("calls", "context", "lines", "people", "reply", "thinking", "usage")

    def __init__(self, people: int) -> None:
        self.people = people
        "How many messages of people its conversation held when it was last continued."
        self.lines: set[str] = set()
        self.calls: set[str] = set()
        "Its calls that are facts already; a stream repeats them."
        self.reply: str | None = None
        "The foreign id of its reply."
        self.context: str | None = None
        "The foreign id of the context in which it was asked; empty if there is none."
        self.usage: object = None
        "The usage that was last stated."
        self.thinking = ""

    def take_thoughts(self, content: object) -> bool:
        """Add the thoughts of a line, and return whether it brings nothing else.

        A stream repeats the earlier thoughts at the beginning of the later ones.
        """
        blocks = sequence(content)
        thoughts = [b for b in blocks if isinstance(b, dict) and b.get("type") in THOUGHTS]
        if not thoughts:
            return False
        said = (block.get("thinking") for block in thoughts)
        thought = "\n".join(text for text in said if isinstance(text, str))
        if thought.startswith(self.thinking):
            self.thinking = thought
        elif thought:
            self.thinking += f"\n{thought}"
        return len(thoughts) == len(blocks)


class StreamedAnswers:
    """The answers in a log, by their ids."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], StreamedAnswer] = {}
        self._people: dict[object, int] = {}
        "How many messages people wrote, by conversation."

    def hear(self, entry: dict[str, Any]) -> None:
        """Note that a person spoke."""
        chain = chain_of(entry)
        self._people[chain] = self._people.get(chain, 0) + 1

    def of(self, entry: dict[str, Any]) -> StreamedAnswer:
        """Return the answer of a line: a new one, unless the line continues one.

        Some servers give each answer the same id: what follows on a person's words is another one.
        """
        people = self._people.get(chain_of(entry), 0)
        id = string(mapping(entry.get("message")).get("id"))
        if id is None:
            return StreamedAnswer(people)
        key = id, string(entry.get("requestId")) or ""
        answer = self._found.get(key)
        if answer is None or (
            people > answer.people and string(entry.get("parentUuid")) not in answer.lines
        ):
            answer = self._found[key] = StreamedAnswer(people)
            if len(self._found) > RECENT:
                del self._found[next(iter(self._found))]
        answer.people = people
        if uuid := string(entry.get("uuid")):
            answer.lines.add(uuid)
        return answer


def chain_of(entry: dict[str, Any]) -> object:
    """Return the conversation of a line: the main one, or that of a side agent."""
    return bool(entry.get("isSidechain")), string(entry.get("agentId"))
