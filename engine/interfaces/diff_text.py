"""Render the difference between two prompts: the changed sections, then a line a change."""

from collections.abc import Iterator

from backcast.engine.interfaces.screen import screen_width
from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.diff import Diff, ItemChange

SHOWN = 40
"Changes that get a line each."
WIDTH = 160
"Characters of a line where no terminal says how wide it is; longer lines are cut."
_SIGNS = {"in": "+", "out": "-"}


def diff_text(difference: Diff, shown: int = SHOWN) -> str:
    """Return a difference as lines of text, with at most `shown` changes."""
    width = screen_width() or WIDTH
    return "\n".join(one_line(line, width) for line in _lines(difference, shown))


def _lines(difference: Diff, shown: int) -> Iterator[str]:
    if difference.same:
        same = f"{difference.before} and {difference.after} are the same to the byte"
        yield f"{same}: {difference.tokens[0]:,} tokens"
        return
    was, now = difference.tokens
    names = f"{difference.before} -> {difference.after}"
    yield f"{names}: {was:,} -> {now:,} tokens of {difference.room[1]:,}"
    if difference.shared:
        where = f"; they part in {difference.shared.section}" if difference.shared.section else ""
        yield f"the first {difference.shared.tokens:,} tokens are the same{where}"
    yield from _prefixes(difference)
    changed = [(section, was, now) for section, was, now in difference.sections if was != now]
    wide = max((len(section) for section, _, _ in changed), default=0)
    for section, was, now in changed:
        yield f"  {section:<{wide}}  {was:>6,} -> {now:>6,} tokens"
    for change in difference.changes[:shown]:
        yield change_line(change)
    if len(difference.changes) > shown:
        yield f"... and {len(difference.changes) - shown} changes more"
    if not difference.changes:
        yield "every item is shown alike: the text around them differs"


def _prefixes(difference: Diff) -> Iterator[str]:
    """Yield what each prompt shares with the one asked before, where that was compared."""
    shares = [f"{one.tokens:,} of {one.of:,}" for one in difference.prefix if one]
    if shares:
        yield f"of the prompt before them they go on with {' -> '.join(shares)} tokens"


def change_line(change: ItemChange) -> str:
    """Return a change as a line: `+ errors  failure:9.1  full, 21 tokens  (lower score)`."""
    head = f"{_SIGNS.get(change.kind, '~')} {change.section}  {change.node}"
    how = change.after or change.before
    if change.kind == "level":
        how = f"{change.before} -> {change.after}"
    elif change.kind == "text":
        how = f"another text, {change.before} -> {change.after}"
    elif change.kind == "moved":
        how = f"{change.after}, moved"
    when = {"in": " before", "out": " now"}.get(change.kind, "")
    # The reason of an item that was not offered names its moment already.
    when = "" if change.why.startswith("not offered") else when
    return f"{head}  {how}" + (f"  ({change.why}{when})" if change.why else "")
