"""Render what a recorded request is made of, and where two of them part."""

from collections.abc import Iterator, Sequence

from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.foreign_prompts import (
    Anatomy,
    AnatomyPart,
    PrefixBreak,
    PromptDifference,
)
from backcast.engine.replay.prefix_rows import PrefixRow

SHOWN = 60
"Parts that get a line each; of more, the largest."
WIDTH = 110
GROUPS = {
    "system": "system", "tool": "tools", "reminder": "reminders", "call": "tool calls",
    "result": "tool results", "thinking": "thinking", "image": "images", "file": "files",
    "setting": "settings", "rest": "unread",
}  # fmt: skip


def anatomy_text(found: Anatomy, task: str) -> str:
    """Return an anatomy as lines of text."""
    return "\n".join(one_line(line, WIDTH) for line in _anatomy(found, task))


def formed_text(found: Anatomy, task: str, counter: str) -> str:
    """Return the anatomy of a formed prompt, whose tokens `counter` counted, as lines of text."""
    lines = [*_parts(found, task)]
    total = sum(part.tokens for part in found.parts)
    lines += [*_kinds(found, total or 1), f"{total:>9,}  in all, counted by {counter}"]
    if found.server:
        lines.append(f"{found.server:>9,}  as the model's server counted the whole request")
    return "\n".join(one_line(line, WIDTH) for line in lines)


def _anatomy(found: Anatomy, task: str) -> Iterator[str]:
    yield from _parts(found, task)
    total = sum(part.tokens for part in found.parts)
    whole = found.tokens or found.server
    # Counted by an upper bound the parts may be more than the whole that the server counted.
    beyond = whole is not None and total > whole
    yield from _kinds(found, total if beyond else whole or total or 1)
    if whole and beyond:
        yield f"{total:>9,}  in all; the server counted {whole:,}"
    elif whole:
        yield f"{whole - total:>9,}  {100 * (whole - total) / whole:5.1f} %  template, and joins"
        yield f"{whole:>9,}  in all{_server(found)}"
    else:
        yield f"{total:>9,}  in all; the server told no count"
    if not all(part.counted for part in found.parts):
        yield "note: the server did not count the parts: these are counted here"
    if found.predicted is not None:
        kept = _kept(found.predicted, found.cached)
        yield f"{found.predicted:>9,}  of them as in the prompt before{kept}"
    yield f"{found.between:,} bytes of the body stand between the parts"


def _parts(found: Anatomy, task: str) -> Iterator[str]:
    purpose = f" ({found.purpose})" if found.purpose else ""
    path = found.path or "formed from the agent's log"
    yield f"{task}@{found.version} {path}{purpose}: {found.size:,} bytes"
    large = sorted(found.parts, key=lambda part: -part.tokens)[:SHOWN]
    limit = large[-1].tokens if len(found.parts) > SHOWN else 0
    shown = [part for part in found.parts if part.tokens >= limit][:SHOWN]
    for part in shown:
        yield f"{part.tokens:>9,}  {part.title:<34.34}  {part.words}"
    if len(found.parts) > len(shown):
        yield f"           ... and {len(found.parts) - len(shown):,} smaller parts"


def _kinds(found: Anatomy, of: int) -> Iterator[str]:
    yield "by kind"
    groups: dict[str, list[AnatomyPart]] = {}
    for part in found.parts:
        groups.setdefault(group_of(part.kind, part.role), []).append(part)
    for name, parts in groups.items():
        tokens = sum(part.tokens for part in parts)
        share = f"{100 * tokens / of:5.1f} %"
        yield f"{tokens:>9,}  {share}  {name}, {len(parts):,} part{'s' * (len(parts) > 1)}"


def _server(found: Anatomy) -> str:
    if found.server is None or found.tokens is None:
        return ""
    if found.server == found.tokens:
        return ", as the server counted"
    return f"; the server counted {found.server:,}"


def _kept(predicted: int, cached: int | None) -> str:
    """Return what the server kept, and what another number than the predicted one means."""
    if cached is None:
        return ""
    why = ""
    if cached < predicted:
        why = ": another slot answered, or read something in between"
    elif cached > predicted:
        why = ": it remembers more than that prompt"
    return f"; the server kept {cached:,}{why}"


def group_of(kind: str, role: str) -> str:
    """Return what parts of a kind are called together; messages by who says them."""
    return GROUPS.get(kind) or f"{role or 'no role'} messages"


def difference_text(found: PromptDifference, task: str) -> str:
    """Return the difference between two prompts as lines of text."""
    return "\n".join(one_line(line, WIDTH) for line in _difference(found, task))


def _difference(found: PromptDifference, task: str) -> Iterator[str]:
    before, after = found.before, found.after
    sizes = [
        side.tokens or side.server or sum(part.tokens for part in side.parts)
        for side in (before, after)
    ]
    names = f"{task}@{before.version} -> {task}@{after.version}"
    yield f"{names}: {sizes[0]:,} -> {sizes[1]:,} tokens"
    if broken := found.broken:
        again = broken.again if found.again is None else found.again
        yield f"{_broke(broken)}: {again:,} tokens must be read again"
        yield f"  {broken.words}"
        yield f"{broken.kept:,} tokens of parts before it are the same"
    else:
        again = found.goes_on if found.again is None else found.again
        yield f"the prefix holds: the later goes on from the earlier, {again:,} tokens are new"
    if after.predicted is not None and found.again is not None:
        kept = _kept(after.predicted, after.cached)
        yield f"{after.predicted:,} leading tokens are the same{kept}"
    for sign, parts in (("-", found.gone), ("+", found.new), ("~", found.moved)):
        for part in parts[:SHOWN]:
            yield f"{sign} {part.tokens:>7,}  {part.title}  {part.words}"
        if len(parts) > SHOWN:
            yield f"{sign} ... and {len(parts) - SHOWN:,} more"


def prefixes_text(rows: Sequence[PrefixRow], task: str) -> str:
    """Return the prompts of a conversation as lines, and how often what was foretold was kept."""
    return "\n".join(one_line(line, WIDTH) for line in _prefixes(rows, task))


def _rows(rows: Sequence[PrefixRow], task: str, shared: str) -> Iterator[str]:
    wide = max([6, *(len(f"{task}@{row.version}") for row in rows)])
    yield f"{'prompt':<{wide}}    tokens{shared:>10}      kept"
    for row in rows:
        numbers = (row.tokens, row.foretold, row.kept)
        columns = "".join(f"{'' if n is None else f'{n:,}':>10}" for n in numbers)
        why = "the first" if row.first else "goes on"
        why = _broke(row.broken) if row.broken else why
        yield f"{f'{task}@{row.version}':<{wide}}{columns}  {why}"


def _prefixes(rows: Sequence[PrefixRow], task: str) -> Iterator[str]:
    yield from _rows(rows, task, "foretold")
    known = [row for row in rows if row.agrees is not None]
    held = sum(row.agrees is True for row in known)
    more = sum(row.agrees is True and (row.kept or 0) > (row.foretold or 0) for row in known)
    if known:
        beyond = f", and in {more} of them more" if more else ""
        yield f"the server kept what was foretold in {held} of {len(known)} prompts{beyond}"
    else:
        yield _untold(rows)


def formed_prefixes_text(rows: Sequence[PrefixRow], task: str, counter: str) -> str:
    """Return the formed prompts of a run as lines: what each shares with the one before."""
    lines = [*_rows(rows, task, "as before")]
    lines.append(f"tokens are those of {counter}; what is kept is told by the model's server")
    return "\n".join(one_line(line, WIDTH) for line in lines)


def _untold(rows: Sequence[PrefixRow]) -> str:
    """Say why no prompt tells whether the server kept what was foretold."""
    kept = [(row.kept, row.tokens or 0) for row in rows if row.kept is not None]
    if not kept:
        return "the server told of no prompt what it kept"
    tokens, whole = (sum(numbers) for numbers in zip(*kept, strict=True))
    return (
        f"the server kept {tokens:,} of {whole:,} tokens; what it would keep was not foretold, as"
        " it did not count parts"
    )


def _broke(broken: PrefixBreak) -> str:
    to = "" if broken.to is None else f" to message {broken.to}"
    inside = f", from its character {broken.same + 1:,} on" if broken.same else ""
    return f"the {broken.part.title} {_VERBS[broken.how]}{to}{inside}"


_VERBS = {"moved": "moved", "changed": "changed", "new": "is new there", "gone": "is gone"}
