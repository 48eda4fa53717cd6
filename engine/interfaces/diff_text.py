"""What differs between two prompts, as text: the sections that changed, then a line a change."""

from collections.abc import Iterator

from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.diff import Diff, ItemChange

SHOWN = 40
"Changes that are told one by one."
WIDTH = 160
"Characters of a line; what is longer is cut."
_SIGNS = {"in": "+", "out": "-"}


def diff_text(found: Diff, shown: int = SHOWN) -> str:
    """A difference as lines of text, of the changes no more than `shown`."""
    return "\n".join(one_line(line, WIDTH) for line in _lines(found, shown))


def _lines(found: Diff, shown: int) -> Iterator[str]:
    if found.same:
        told = f"{found.tokens[0]:,} tokens"
        yield f"{found.before} and {found.after} are the same to the byte: {told}"
        return
    was, now = found.tokens
    yield f"{found.before} -> {found.after}: {was:,} -> {now:,} tokens of {found.room[1]:,}"
    if found.shared:
        where = f"; they part in {found.shared.section}" if found.shared.section else ""
        yield f"the first {found.shared.tokens:,} tokens are the same{where}"
    yield from _prefixes(found)
    changed = [(section, was, now) for section, was, now in found.sections if was != now]
    wide = max((len(section) for section, _, _ in changed), default=0)
    for section, was, now in changed:
        yield f"  {section:<{wide}}  {was:>6,} -> {now:>6,} tokens"
    for change in found.changes[:shown]:
        yield change_line(change)
    if len(found.changes) > shown:
        yield f"... and {len(found.changes) - shown} changes more"
    if not found.changes:
        yield "every item is shown alike: the text around them differs"


def _prefixes(found: Diff) -> Iterator[str]:
    """What each shares with the prompt that was asked before, where that was compared."""
    told = [f"{one.tokens:,} of {one.of:,}" for one in found.prefix if one]
    if told:
        yield f"of the prompt before them they go on with {' -> '.join(told)} tokens"


def change_line(change: ItemChange) -> str:
    """One change as a line: `+ dependencies  function:a.py::f  full, 21 tokens  (lower score)`."""
    head = f"{_SIGNS.get(change.kind, '~')} {change.section}  {change.node}"
    how = change.after or change.before
    if change.kind == "level":
        how = f"{change.before} -> {change.after}"
    elif change.kind == "text":
        how = f"another text, {change.before} -> {change.after}"
    elif change.kind == "moved":
        how = f"{change.after}, moved"
    then = {"in": " before", "out": " now"}.get(change.kind, "")
    # `diff` says of what was nowhere offered when that was.
    then = "" if change.why.startswith("not offered") else then
    return f"{head}  {how}" + (f"  ({change.why}{then})" if change.why else "")
