"""Every named policy at one prompt, side by side: how each shows what came to be used."""

from collections.abc import Iterator

from backcast.domain.message_parts import total
from backcast.domain.node import kind_of
from backcast.engine.context.message_policies import ABOUT as MESSAGE_ABOUT
from backcast.engine.context.strategies import ABOUT
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.lacking import SHOWN
from backcast.engine.interfaces.view.markup import Markup, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.whatif import step_asked, way
from backcast.engine.interfaces.view.whatif_form import OWN_NAMES, is_of_messages
from backcast.engine.replay.history_prompt import prompt_under
from backcast.engine.replay.history_trial import next_use
from backcast.engine.replay.what_if import (
    MESSAGE_NAMES,
    RECORDED,
    UsedHere,
    other_policy,
    used_here,
)

ALIKE = "No policy changes what of the things used here is shown."
WIDE = 3
"Things that were used that get a column each: those that most prompts do not show."


def all_parts(maker: PanelMaker, version: int) -> Iterator[Markup]:
    """Yield what every named policy would have shown at a prompt, and links to each."""
    number = maker.reader.sequence.at(version).number
    yield tag("p", maker.link(version, f"step {number}"), " as each named policy builds it, after"
              " the prompts before it as they were recorded. A name leads to the difference, and to"
              " what it does to the whole run.", class_="note")  # fmt: skip
    yield (_of_messages if is_of_messages(maker, version) else _of_ours)(maker, version)


def _link(version: int, name: str) -> Markup:
    return tag("a", name, href=f"#w={version}:{name}")


def _of_ours(maker: PanelMaker, version: int) -> Markup:
    step, pool = step_asked(maker, version), maker.reader.pool
    assert step.built
    found = {name: used_here(pool, step, other_policy(name).policy) for name in OWN_NAMES}
    own = next(iter(found.values()))
    nodes = _most_telling(found)
    rows: list[tuple[object, ...]] = [
        (RECORDED, f"{step.built.tokens or 0:,}", f"{own.shown} of {own.used}",
         *(_cell(own, node, recorded=True) for node in nodes), "its own policy")
    ]  # fmt: skip
    for name, here in found.items():
        shown = here.shown - len(here.lost) + len(here.gained)
        tokens = f"{here.tokens:,}" if here.tokens else "does not fit"
        row = _link(version, name), tokens, f"{shown} of {here.used}"
        rows.append((*row, *(_cell(here, node) for node in nodes), ABOUT.get(name, "")))
    named = [maker.mask(f"{kind_of(node)} {node.rpartition('::')[2] or node}") for node in nodes]
    said = SHOWN if own.used else "Nothing is known that was used here."
    head = ("policy", "tokens", "shows of what was used", *named, "what it is")
    alike = all(not here.lost and not here.gained for here in found.values())
    first = tag("p", ALIKE, class_="said") if own.used and alike else None
    return joined([first, table(head, rows), tag("p", said, class_="note")])


def _most_telling(found: dict[str, UsedHere]) -> list[str]:
    """Return the used nodes that most prompts do not show."""
    out: dict[str, int] = {}
    for here in found.values():
        for thing in here.things:
            ways = (thing.recorded, thing.other)
            out[thing.node] = out.get(thing.node, 0) + sum(word in ("name", "out") for word in ways)
    return sorted(out, key=lambda node: (-out[node], node))[:WIDE]


def _cell(here: UsedHere, node: str, *, recorded: bool = False) -> object:
    thing = next((thing for thing in here.things if thing.node == node), None)
    if thing is None:
        return ""
    return way(thing.recorded if recorded else thing.other)


def _of_messages(maker: PanelMaker, version: int) -> Markup:
    reader, count = maker.reader, message_counter().count
    rows: list[tuple[object, ...]] = []
    for name in MESSAGE_NAMES:
        settings = other_policy(name).policy.messages
        found = prompt_under(reader.store, reader.task, str(version), settings, count)
        use = next_use(found.recorded, found.shown, count)
        whole = use.used + use.last_used
        if not rows:
            tokens = f"{total(found.recorded.parts):,}"
            rows.append((RECORDED, tokens, f"{whole} of {whole}", "", "as it was sent"))
        lost = ", ".join(maker.mask(str(thing)) for thing in use.lost[:WIDE])
        shown = f"{whole - len(use.lost)} of {whole}"
        row = _link(version, name), f"{total(found.shown):,}", shown, lost
        rows.append((*row, MESSAGE_ABOUT.get(name, "")))
    return table(("policy", "tokens", "shows of what the answer used", "lost", "what it is"), rows)
