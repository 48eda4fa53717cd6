"""The contexts of a session of Claude Code: what each chain of it said before each answer.

The lines of an answer are one message, and so are the results that follow on it. A boundary of a
compaction empties the context, and the summary behind it begins the next. A line without a parent
begins anew, unless no line has one: then the order of the file is the conversation. The system's
instructions and the tools are in no line.
"""

from typing import Any

from backcast.engine.log.exchanges.bodies import MESSAGES
from backcast.engine.log.importers.answers import StreamedAnswer, chain_of
from backcast.engine.log.importers.content import mapping, sequence, string
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.records import ForeignRecord

RECENT = 10_000
"Lines whose places are remembered, for a person who goes back to one."
CHAINS = 50
"Chains that are held; those of agents that have ended are not continued."


class _ClaudeChain:
    """The main conversation, or that of a side agent."""

    def __init__(self, contexts: FormedContexts) -> None:
        self.contexts = contexts
        self.role, self.blocks = "", list[Any]()
        "The message that is not whole yet."
        self.last: str | None = None
        self.places: dict[str, int] = {}
        "How many messages stood at a line."

    def say(self, role: str, content: object) -> None:
        """Add to the last message, or begin one."""
        if role != self.role:
            self.end()
            self.role = role
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        self.blocks += [block for block in sequence(blocks) if block not in self.blocks]

    def end(self) -> None:
        """End the message at hand."""
        if self.blocks:
            self.contexts.say({"role": self.role, "content": self.blocks})
        self.role, self.blocks = "", []

    def begin(self) -> None:
        """Begin with nothing."""
        self.role, self.blocks = "", []
        self.places.clear()
        self.contexts.replace(())

    def go_back(self, line: str) -> None:
        """Go back to a line, if it is known."""
        if line != self.last and line in self.places:
            self.end()
            self.contexts.cut(self.places[line])

    def stand_at(self, line: str | None) -> None:
        """Note that a line was read."""
        if line:
            self.places[line] = self.contexts.said + bool(self.blocks)
            self.last = line
        if len(self.places) > RECENT:
            del self.places[next(iter(self.places))]


class ClaudeContexts:
    """The contexts of a session while its lines are read, in the order of the file."""

    def __init__(self, calls: dict[str, int], *, linked: bool = True) -> None:
        """`linked` is whether any line of the session names the one that it follows."""
        self.calls, self.linked = calls, linked
        self._chains: dict[object, _ClaudeChain] = {}
        self._seen: set[str] = set()
        "The ids of all lines: a line that comes again is no other."

    def answer(
        self, record: ForeignRecord, entry: dict[str, Any], answer: StreamedAnswer,
        because: list[str],
    ) -> str:  # fmt: skip
        """Add the context of an answer at its first line, and return its id."""
        if string(entry.get("uuid")) in self._seen:
            return ""
        if answer.context is None:
            chain = self._chain(entry)
            chain.end()
            answer.context = chain.contexts.form(record, because) or ""
        return answer.context

    def read(self, entry: dict[str, Any], said: str | None, *, shown: bool) -> None:
        """Take in a line; `shown` is whether the model is shown its message."""
        line = string(entry.get("uuid"))
        if line in self._seen:
            return
        chain, parent = self._chain(entry), string(entry.get("parentUuid"))
        message = mapping(entry.get("message"))
        if entry.get("subtype") == "compact_boundary":
            chain.begin()
        elif entry.get("type") == "user" and shown and "content" in message:
            if self._is_root(entry):
                chain.begin()
            elif said and parent:
                chain.go_back(parent)
            chain.say("user", message["content"])
        elif entry.get("type") == "assistant" and shown and "content" in message:
            chain.say("assistant", message["content"])
        chain.stand_at(line)
        self._seen.update([line] if line else [])

    def _is_root(self, entry: dict[str, Any]) -> bool:
        """Return whether a line begins anew: where no line has a parent, that says nothing."""
        no_parent = string(entry.get("parentUuid")) is None and "parentUuid" in entry
        return self.linked and no_parent and entry.get("isCompactSummary") is None

    def _chain(self, entry: dict[str, Any]) -> _ClaudeChain:
        name = chain_of(entry)
        found = self._chains.pop(name, None)
        found = found or _ClaudeChain(FormedContexts(self.calls, MESSAGES))
        self._chains[name] = found
        if len(self._chains) > CHAINS:
            del self._chains[next(iter(self._chains))]
        return found
