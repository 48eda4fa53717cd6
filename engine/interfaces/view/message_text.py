"""The messages of a prompt as the model saw them, each item marked where it stands."""

from collections.abc import Iterator, Sequence

from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.errors import BackcastError
from backcast.engine.context.recorded import messages
from backcast.engine.interfaces.view.markup import BLOCK, Markup, block, cut, folded, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker, colour
from backcast.engine.interfaces.view.reading import ItemRank, PromptFigures


def seen(maker: PanelMaker, fact: ContextBuilt, figures: PromptFigures | None) -> Markup:
    """Return the messages of a prompt as the model saw them, with its items marked."""
    try:
        found = messages(fact, maker.shown.store.get)
    except (BackcastError, ValueError) as error:
        items = [_item(maker, fact, figures, at) for at in range(len(fact.items))]
        words = f"the messages cannot be put together ({error}); the texts that are here:"
        return joined([tag("p", words, class_="bad"), tag("pre", *items, class_="text message")])
    ranks = figures.ranks if figures else ()
    parts: list[object] = []
    for role, text in found:
        body = _blocks(maker, fact, figures, text)
        parts.append(tag("h3", role))
        parts.append(maker.keep(tag("pre", *body, class_="text message")) if role == "system"
                     else tag("pre", *body, class_="text message"))  # fmt: skip
    note = "" if ranks else tag("p", "Why each part was chosen was not recorded.", class_="note")
    return folded("The messages, as the model saw them", *parts, note, class_="seen")


def _blocks(
    maker: PanelMaker, fact: ContextBuilt, figures: PromptFigures | None, text: str
) -> list[Markup]:
    """Return the text of a message with its items marked; a long one in blocks of whole lines."""
    found, held, size = list[Markup](), list[Markup](), 0
    for piece, at in _pieces(text, fact.items, maker):
        held.append(joined(cut(piece)) if at is None else _item(maker, fact, figures, at))
        size += len(piece)
        if size > BLOCK and piece.endswith("\n"):
            found.append(block(*held))
            held, size = [], 0
    return [*found, *held]


def _pieces(
    text: str, items: Sequence[ContextItem], maker: PanelMaker
) -> Iterator[tuple[str, int | None]]:
    """Yield a message in pieces: items by their number, and what stands between them."""
    done = 0
    for at, item in enumerate(items):
        body = item_text(maker, item)
        place = text.find(body, done) if body else -1
        if place < 0:
            continue
        if place > done:
            yield text[done:place], None
        yield body, at
        done = place + len(body)
    if done < len(text):
        yield text[done:], None


def item_text(maker: PanelMaker, item: ContextItem) -> str:
    """Return the text of an item as its prompt shows it."""
    if item.text is None:
        return ""
    try:
        return maker.shown.store.get(item.text).decode(errors="surrogatepass")
    except (BackcastError, ValueError) as error:
        return f"[this text cannot be read: {error}]"


def _item(maker: PanelMaker, fact: ContextBuilt, figures: PromptFigures | None, at: int) -> Markup:
    """Return an item within a message: its text, and on hover what it is."""
    item = fact.items[at]
    body = maker.keep(joined(cut(item_text(maker, item))))
    title = " · ".join(filter(None, (item.node, item.section, item.level,
                                     f"{item.tokens:,} tokens", _why(figures, at))))  # fmt: skip
    shown = tag("span", body, class_=f"item {colour(item.section)}", title=title, data_i=item.node)
    return maker.keep(shown)


def rank_of(figures: PromptFigures | None, at: int) -> ItemRank | None:
    """Return why an item was chosen; None where that was not recorded."""
    return figures.ranks[at] if figures and at < len(figures.ranks) else None


def _why(figures: PromptFigures | None, at: int) -> str:
    rank = rank_of(figures, at)
    return f"{rank.priority}, score {rank.score:g}" if rank else ""
