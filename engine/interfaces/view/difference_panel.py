"""The panel of two prompts: what came, went and changed, and what must be read again."""

from collections.abc import Iterator

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.view.changed_text import line_difference
from backcast.engine.interfaces.view.foreign_panel import foreign_difference
from backcast.engine.interfaces.view.formed_panel import formed_difference
from backcast.engine.interfaces.view.markup import Markup, folded, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, colour, ruler
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.replay.diff import Diff, ItemChange
from backcast.engine.replay.pairs import Pair, between
from backcast.engine.replay.steps import RecordedPrompt

SIGNS = {"in": "+ came", "out": "- went", "level": "~ level", "text": "~ text", "moved": "~ moved"}


def difference_panel(maker: PanelMaker, before: int, after: int) -> Markup:
    """Return the panel of the difference between the prompts of two events."""
    before, after = sorted((before, after))
    title = tag(
        "h2", "Two prompts: ", maker.link(before), " and ", maker.link(after),
        tag("small", f" (steps {maker.shown.sequence.at(before).number} and"
            f" {maker.shown.sequence.at(after).number})"),
    )  # fmt: skip
    try:
        body = _body(maker, before, after)
    except (BackcastError, ValueError) as error:
        body = tag("p", f"they cannot be compared: {error}", class_="bad")
    return tag("section", title, body, id="difference")


def _body(maker: PanelMaker, before: int, after: int) -> Markup:
    if formed := formed_difference(maker, before, after):
        return formed
    if maker.shown.sequence.at(after).foreign:
        return foreign_difference(maker, before, after)
    reader = maker.reader
    prompts = reader.prompts()
    pair = Pair(prompts.get(before), prompts.get(after))
    found = between((reader.store, reader.store), pair)
    if found is None:
        raise InputError("needed two events that recorded prompts")
    return joined(difference_parts(maker, found, pair))


def difference_parts(maker: PanelMaker, found: Diff, pair: Pair | None) -> Iterator[object]:
    """Yield the parts of a difference; with `pair` the texts that changed, too."""
    was, now = found.tokens
    kept = found.shared.tokens if found.shared else 0
    whole = found.shared.of if found.shared else now
    yield ruler(kept, whole - kept)
    if found.same:
        yield tag("p", f"They are the same to the byte: {now:,} tokens.", class_="said")
        return
    where = (
        f" They part in {found.shared.section}." if found.shared and found.shared.section else ""
    )
    yield tag(
        "p", f"The first {kept:,} tokens are the same.{where} {whole - kept:,} tokens must be read"
        f" again. {was:,} → {now:,} tokens of {found.room[1]:,}.", class_="said",
    )  # fmt: skip
    rows = [(tag("span", name, class_=f"key {colour(name)}"), f"{old:,}", f"{new:,}",
             f"{new - old:+,}" if new != old else "")
            for name, old, new in found.sections]  # fmt: skip
    yield folded("tokens by section", table(("section", "before", "after", "more"), rows))
    changes = [_change(maker, change, pair) for change in found.changes]
    if not changes:
        yield tag("p", "Every item is shown alike: the text around them differs.", class_="note")
    yield table(("", "section", "item", "before", "after", "tokens", "why"), changes, "changes")


def _change(maker: PanelMaker, change: ItemChange, pair: Pair | None) -> tuple[object, ...]:
    node: object = tag("code", maker.mask(change.node))
    if pair and change.kind in ("text", "level"):
        node = folded(node, maker.keep(_texts(maker, change.node, pair)))
    return (
        tag("b", SIGNS[change.kind], class_=f"change is-{change.kind}"), change.section, node,
        change.before, change.after, f"{change.tokens:+,}" if change.tokens else "",
        maker.mask(f"was out: {change.why}" if change.kind == "in" and change.why else change.why),
    )  # fmt: skip


def _texts(maker: PanelMaker, node: str, pair: Pair) -> Markup:
    """Return how the two texts of an item differ, by lines."""
    before, after = (maker.mask(_text(maker.reader, prompt, node)) for prompt in pair)
    return line_difference(before, after)


def _text(reader: RunReader, prompt: object, node: str) -> str:
    items = prompt.fact.items if isinstance(prompt, RecordedPrompt) else ()
    return next((reader.text(item.text) for item in items if item.node == node), "")
