"""What the parts of a prompt were worth, as `influence` prints it: rows, and what is certain."""

from collections.abc import Iterator, Sequence

from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.influence import Influence
from backcast.engine.replay.influence_run import StepInfluences
from backcast.engine.replay.score_summary import LEAST_UNITS

HEAD = ("nats saved", "of all", "95 %", "certain", "tokens", "section", "level", "what")
NAMED = 3
"Parts that a line names."


def total_of(found: StepInfluences) -> str:
    """Return how unlikely the outcome was behind the whole prompt."""
    return f"{found.new.nats:.2f} nats for {found.new.tokens} tokens of new lines"


def rows(found: StepInfluences) -> Iterator[tuple[object, ...]]:
    """Yield a row for each part; a section of one item, which was left out with it, has none."""
    whats = {"section": "the whole section"}
    for worth in shown_parts(found.influences):
        part = worth.part
        what = f"instruction: {part.name}" if part.kind == "instruction" else part.name
        yield (
            f"{worth.nats:+.2f}",
            f"{worth.nats / found.new.nats:+.0%}" if found.new.nats else "",
            "{:+.2f} to {:+.2f}".format(*worth.interval) if worth.interval else "",
            "yes" if worth.certain else "",
            part.tokens,
            part.section,
            part.level,
            whats.get(part.kind, what),
        )


def shown_parts(influences: Sequence[Influence]) -> list[Influence]:
    """Return the parts without sections that one item fills."""
    items = [worth.part for worth in influences if worth.part.kind == "item"]
    alone = {
        part.section for part in items
        if sum(other.section == part.section for other in items) == 1
    }  # fmt: skip
    sizes = {part.section: part.tokens for part in items if part.section in alone}
    return [
        worth for worth in influences
        if worth.part.kind != "section" or sizes.get(worth.part.name) != worth.part.tokens
    ]  # fmt: skip


def verdicts(
    found: StepInfluences, address: str, sizes: str = "", blamed: str = ""
) -> Iterator[str]:
    """Yield what is certain of harm and help, and the commands that tell more.

    `sizes` are the options that make `context` build the prompt of a commit as it was read, and
    `blamed` those by which `blame` tells of it.
    """
    parts = shown_parts(found.influences)
    if not uncertain(found):
        certain = sorted((w for w in parts if w.certain), key=lambda worth: worth.nats)
        harm = [worth for worth in certain if worth.nats < 0]
        helped = [worth for worth in reversed(certain) if worth.nats > 0]
        yield f"harm for certain: {_named(harm)}" if harm else "no part did harm for certain"
        yield f"help for certain: {_named(helped)}" if helped else "no part helped for certain"
        parts = [*harm, *helped, *parts]
    if found.name.startswith("action "):
        yield f"the prompt, part by part: backcast context {address} --anatomy"
        return
    node = next((worth.part.name for worth in parts if worth.part.kind == "item"), "")
    if node:
        yield f"why it is in, and by which settings: backcast blame {address} {node}{blamed}"
    more = sizes if found.name.startswith("commit ") else ""
    yield f"the prompt, with this column: backcast context {address} --explain{more}"


def uncertain(found: StepInfluences) -> str:
    """Return why nothing is certain, which stands above the rows; empty for intervals."""
    if any(worth.interval for worth in shown_parts(found.influences)):
        return ""
    return f"nothing is certain: an interval needs {LEAST_UNITS} new lines at least"


def _named(parts: Sequence[Influence]) -> str:
    names = ", ".join(f"{worth.part.name} ({worth.nats:+.2f})" for worth in parts[:NAMED])
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return f"{names}{more}"


def note_of(reader: OutcomeReader) -> str:
    """Return what the figures are, and what they are not."""
    return (
        f"nats that a part saves in all new lines together, and its tokens as {reader.model} counts"
        " them; it is not what a model would have answered"
    )
