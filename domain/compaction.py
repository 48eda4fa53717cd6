"""What is left of an agent's earlier turns in a summary? Extracts in a fixed order; no model.

The goal, the files that were touched, what was said by people, the last errors, and a line for each
turn with the first words of the model, what it called and what came of it: the newest first, until
the tokens are used up.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from backcast.domain.error_lines import error_lines
from backcast.domain.message_parts import (
    CALL,
    COMPACTED,
    MESSAGE,
    RESULT,
    SUMMARY,
    Count,
    MessagePart,
    shown_call,
)

GOAL, WORDS, CALLED, SAID = 240, 120, 70, 400
"Characters of the goal, of what the model said in a turn, of a call, and of what a person said."
SENTENCE = 6
"Words from which on what a person said first can be a goal."
ERRORS, FILES, PEOPLE = 5, 12, 5
"The last errors, the files and the things said that are named."


def summary_of(parts: Sequence[MessagePart], last: int, most: int, count: Count) -> MessagePart:
    """Return a summary of the turns up to the last, of at most so many tokens."""
    head = f"[Summary of turns 1 to {last}, extracted by rules; blob:... names a whole result]"
    room = most - count(head)
    first = list[str]()
    for line in (*_goal(parts), *_people(parts), *_files(parts), *_errors(parts)):
        if (tokens := count(line) + 1) <= room:
            first.append(line)
            room -= tokens
    turns, begun = list[str](), 1
    room -= count(f"What was done since turn {last}:") + 1
    for turn, line in _turns(parts):
        room -= count(line) + 1
        if room < 0:
            break
        turns.append(line)
        begun = turn
    since = "" if begun == 1 else f" since turn {begun}"
    done = [f"What was done{since}:", *reversed(turns)] if turns else []
    text = "\n".join((head, *first, *done))
    return MessagePart("user", SUMMARY, text, count(text), turn=last, state=COMPACTED)


def _goal(parts: Sequence[MessagePart]) -> Iterator[str]:
    said = [part.text for part in parts if not part.turn and _is_said(part)]
    long = [text for text in said if len(text.split()) >= SENTENCE]
    if said:
        yield f"Goal: {_words((long or said)[-1], GOAL)}"


def _people(parts: Sequence[MessagePart]) -> Iterator[str]:
    """Yield what was said to the model, each thing once: programs repeat themselves."""
    found: dict[str, str] = {}
    for part in parts:
        if part.turn and _is_said(part):
            words = _words(part.text, SAID)
            key = re.sub(r"\d+", "0", words)
            found.pop(key, None)
            found[key] = f"Said in turn {part.turn}: {words}"
    yield from list(found.values())[-PEOPLE:]


def _is_said(part: MessagePart) -> bool:
    return part.role == "user" and part.kind == MESSAGE


def _files(parts: Sequence[MessagePart]) -> Iterator[str]:
    results = [part for part in parts if part.turn and part.kind == RESULT and not part.failed]
    changed = Counter(part.writes for part in results if part.writes)
    read = Counter(part.reads.path for part in results if part.reads)
    if changed:
        yield f"Files changed: {_named(changed)}"
    if read:
        yield f"Files read: {_named(read)}"


def _named(counts: Counter[str]) -> str:
    latest = list(counts)[-FILES:]
    names = [f"{path} ({counts[path]} times)" if counts[path] > 1 else path for path in latest]
    more = len(counts) - len(latest)
    return ", ".join(names) + (f", and {more} more" if more else "")


def _errors(parts: Sequence[MessagePart]) -> Iterator[str]:
    found: dict[str, int] = {}
    for part in parts:
        if part.turn and part.kind == RESULT:
            for line in error_lines(part.text)[-2:]:
                found.pop(line, None)
                found[line] = part.turn
    for line in list(found)[-ERRORS:]:
        yield f"Error in turn {found[line]}: {_words(line, WORDS)}"


def _turns(parts: Sequence[MessagePart]) -> Iterator[tuple[int, str]]:
    """Yield the number of each turn with a line, the newest first."""
    turns = [(turn, list(own)) for turn, own in groupby(parts, lambda part: part.turn) if turn]
    for turn, own in reversed(turns):
        said = [part.text for part in own if part.role == "assistant" and part.kind == MESSAGE]
        results = {part.call: part for part in own if part.kind == RESULT}
        does = [_done(part, results.get(part.call)) for part in own if part.kind == CALL]
        # An agent whose calls stand in its words tells each twice.
        words = _words(" ".join(text.partition("```")[0] if does else text for text in said), WORDS)
        yield turn, f"{turn}. {'; '.join([word for word in (words, *does) if word])}"


def _done(call: MessagePart, result: MessagePart | None) -> str:
    name = shown_call(call, CALLED)
    if result is None:
        return f"{name} (no result)"
    errors = error_lines(result.text)[:1] if result.failed else ()
    failed = f"failed, {_words(errors[0], WORDS)}" if errors else "failed" if result.failed else ""
    known = ", ".join(word for word in (failed, result.name) if word)
    return f"{name} ({known})" if known else name


def _words(text: str, most: int) -> str:
    """Return the beginning of a text in a line."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
