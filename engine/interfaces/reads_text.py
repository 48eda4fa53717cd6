"""Render what an agent read again: where, what became of it since, and what prompts carried."""

from collections.abc import Iterator

from backcast.domain.message_parts import cut_inside
from backcast.engine.interfaces.run_stats import RunStats
from backcast.engine.replay.reads_again import CHANGED, OTHER, UNCHANGED, RepeatedRead

SHOWN, WIDE = 20, 60
"Rows of the table, and characters of a path or call."


def again_rows(found: RunStats) -> Iterator[tuple[str, ...]]:
    """Yield the rows of what was read again: heads first. Other lines of a file have none."""
    yield "read again", "before", "at", "tokens", "carried", "since"
    for row in _twice(found)[:SHOWN]:
        yield (
            cut_inside(row.subject, WIDE), f"@{row.before}", f"@{row.at}", f"{row.tokens:,}",
            f"{row.carried:,}", row.since,
        )  # fmt: skip


def again_lines(found: RunStats) -> Iterator[str]:
    """Yield a line that sums up what was read again."""
    rows = _twice(found)
    if len(rows) > SHOWN:
        yield f"read again: {len(rows) - SHOWN:,} more rows; --json has all"
    if not found.reads and not rows:
        return
    files = [row for row in found.again if row.is_file]
    sums = {since: [row for row in files if row.since == since]
            for since in (UNCHANGED, CHANGED, OTHER)}  # fmt: skip
    words = [f"{len(some):,} {since}" for since, some in sums.items() if some]
    calls = sum(not row.is_file for row in rows)
    results = "result of another call" if calls == 1 else "results of other calls"
    words += [f"{calls:,} {results} came word for word again"] if calls else []
    carried = sum(row.carried for row in rows)
    yield (
        f"reads: {found.reads:,} of files; again: {', '.join(words) or 'none'}; prompts carried"
        f" {carried:,} tokens twice"
    )


def _twice(found: RunStats) -> list[RepeatedRead]:
    return [row for row in found.again if row.since != OTHER]
