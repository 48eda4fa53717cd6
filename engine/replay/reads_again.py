"""What did an agent read twice? Reads of files, and results of calls that came word for word again.

A file's read is what its call names: pipes, scripts and patterns of files are none.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backcast.domain.message_parts import RESULT, FileRead, MessagePart, shown_call
from backcast.engine.replay.agent_prompt import AgentPrompt

LEAST = 20
"The tokens of the shortest result of another call that counts."
UNCHANGED, CHANGED, OTHER = "unchanged", "changed", "other lines"


class RepeatedRead(NamedTuple):
    """A read of what an earlier result had shown, or of the same file."""

    subject: str
    "The path, else the call whose result came again."
    is_file: bool
    before: int
    "The event of the prompt whose answer asked for it before."
    at: int
    "The same of this one."
    since: str
    "What became of it between the two, by the log: unchanged, changed, or other lines were read."
    tokens: int
    "Of this result."
    carried: int
    """Tokens of one of the two results, this one or where it changed the earlier, over all prompts
    that held both; 0 where other lines were read."""


class _ReadResult:
    """A result, where it was asked for, and the prompts that hold it."""

    def __init__(self, part: MessagePart, at: int, path: str) -> None:
        self.part, self.at, self.path = part, at, path
        self.prompts: set[int] = set()


class _ReadThread:
    """What a conversation's prompts have shown so far."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, ...], _ReadResult] = {}
        self.writes: list[tuple[int, str]] = []
        "Where a file was changed: the number of results before, and its path."
        self.paths: list[str] = []
        self.last = 0
        "The event of the last prompt."


def repeated_reads(prompts: Iterable[AgentPrompt]) -> tuple[int, list[RepeatedRead]]:
    """Return how many files' reads prompts showed, and what was read again, most carried first."""
    threads: dict[str, _ReadThread] = {}
    for prompt in prompts:
        thread = threads.setdefault(prompt.thread, _ReadThread())
        for part in prompt.parts:
            if part.kind == RESULT:
                _meet(thread, part, prompt.version)
        thread.last = prompt.version
    found = [again for thread in threads.values() for again in _again(thread)]
    reads = sum(bool(result.path) for t in threads.values() for result in t.results.values())
    return reads, sorted(found, key=lambda again: (-again.carried, again.at))


def _meet(thread: _ReadThread, part: MessagePart, version: int) -> None:
    """Note a result in a prompt."""
    key = (str(part.event),) if part.event else (part.call, part.tool, part.text)
    if key not in thread.results:
        reads = part.reads if not part.failed else None
        path = _known(thread, reads.path) if reads else ""
        if part.writes and not part.failed:
            thread.writes.append((len(thread.results), _known(thread, part.writes)))
        thread.results[key] = _ReadResult(part, thread.last, path)
    thread.results[key].prompts.add(version)


def _known(thread: _ReadThread, path: str) -> str:
    """Return a path by the name under which it was met first."""
    for known in thread.paths:
        if known == path or known.endswith(f"/{path}") or path.endswith(f"/{known}"):
            return known
    thread.paths.append(path)
    return path


def _again(thread: _ReadThread) -> Iterator[RepeatedRead]:
    by_subject: dict[str, list[tuple[int, _ReadResult]]] = {}
    for number, result in enumerate(thread.results.values()):
        part = result.part
        subject = result.path or shown_call(part)
        if result.path or (part.tokens >= LEAST and not part.writes):
            earlier = by_subject.setdefault(subject, [])
            if earlier and (found := _beside(thread, subject, earlier, number, result)):
                yield found
            earlier.append((number, result))


def _beside(
    thread: _ReadThread, subject: str, earlier: list[tuple[int, _ReadResult]], number: int,
    result: _ReadResult,
) -> RepeatedRead | None:  # fmt: skip
    """Return a read beside the last one of the same lines, else of the same file."""
    part = result.part
    for place, before in reversed(earlier):
        if part.text == before.part.text:
            since = UNCHANGED
        elif not result.path:
            continue  # the same call told something new
        elif not _overlap(before.part.reads, part.reads):
            continue
        else:
            wrote = any(place < at < number and path == subject for at, path in thread.writes)
            since = CHANGED if wrote or before.part.reads == part.reads else UNCHANGED
        both = len(result.prompts & before.prompts)
        costs = before.part.tokens if since == CHANGED else part.tokens
        return RepeatedRead(subject, bool(result.path), before.at, result.at, since, part.tokens,
                            both * costs)  # fmt: skip
    if not result.path:
        return None
    return RepeatedRead(subject, True, earlier[-1][1].at, result.at, OTHER, part.tokens, 0)


def _overlap(before: FileRead | None, after: FileRead | None) -> bool:
    """Return whether one of two reads of a file shows all that the other one showed."""
    if before is None or after is None:
        return False
    before = before._replace(path=after.path)
    return before.covers(after) or after.covers(before)
