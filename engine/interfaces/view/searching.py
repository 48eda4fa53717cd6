"""Search in prompts, answers and code as of a moment."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    ModuleRenamed,
    SourceRead,
    ToolReturned,
)
from backcast.engine.interfaces.view.reading import RunReader

FOUND = 100
"Places that one answer names."
ITEM = "prompt: "
AROUND = 60
"Characters on each side of what was found."


class SearchText(NamedTuple):
    """A text that can be searched."""

    version: int
    "The first event that has it."
    what: str
    ref: str

    @property
    def item(self) -> str:
        """The item of a prompt that it is; empty for other texts."""
        return self.what.removeprefix(ITEM) if self.what.startswith(ITEM) else ""


class FoundPlace(NamedTuple):
    """A place of a text."""

    version: int
    what: str
    item: str
    line: int
    words: str


def texts(reader: RunReader, first: int = 1) -> Iterator[SearchText]:
    """Yield every text of a task from an event on, once, where it stood first."""
    seen = set[tuple[str, str]]()
    for event in reader.store.read(reader.task, after=first - 1):
        for what, ref in _texts(event.fact):
            if ref and (what, ref) not in seen:
                seen.add((what, ref))
                yield SearchText(event.version, what, ref)


def _texts(fact: object) -> Iterator[tuple[str, str | None]]:
    match fact:
        case ContextBuilt(request=request) if request is not None:
            for part in request.parts:
                yield f"{part.role or part.kind} {part.name}".strip(), part.text
        case ContextBuilt():
            for item in fact.items:
                yield f"{ITEM}{item.node}", item.text
        case ModelReplied():
            yield "answer", fact.text
            yield "thoughts", fact.thinking
        case MessageReceived():
            yield "message", fact.text
        case ModuleIteration() | ModuleRenamed():
            yield f"code: {fact.module_name} #{fact.iteration}", fact.source
        case SourceRead():
            yield f"code: {fact.path}", fact.source
        case ToolReturned():
            yield f"output of {fact.tool or 'a tool'}", fact.output


class FoundWords(NamedTuple):
    """What a search found up to an event."""

    found: list[FoundPlace]
    "The first places."
    texts: int
    "Texts that hold the words by then."
    later: int
    "Texts that hold them only later."
    next: int
    "The first event of these; 0 for none."


def search(reader: RunReader, words: str, version: int) -> FoundWords:
    """Find some words, in whatever case, in the texts up to an event."""
    key = "texts", reader.store.version(reader.task)
    every = reader.held(key, lambda: list(texts(reader)))
    needle, found, holding, later = words.casefold(), list[FoundPlace](), 0, list[int]()
    for entry in every if needle else ():
        place = reader.lowered(entry.ref).find(needle)
        if place < 0:
            continue
        if entry.version > version:
            later.append(entry.version)
            continue
        holding += 1
        if len(found) < FOUND:
            found.append(_found(entry, reader.text(entry.ref), words, place))
    return FoundWords(found, holding, len(later), min(later, default=0))


def _found(entry: SearchText, text: str, words: str, place: int) -> FoundPlace:
    exact = text.find(words)
    place = exact if exact >= 0 else place
    before, after = max(0, place - AROUND), place + len(words) + AROUND
    line = text.count("\n", 0, place) + 1
    return FoundPlace(entry.version, entry.what, entry.item, line, text[before:after])
