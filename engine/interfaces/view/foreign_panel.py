"""The panels of a request that another program made, and of the difference between two."""

from collections.abc import Iterator

from backcast.domain.errors import BackcastError
from backcast.engine.interfaces.anatomy_text import group_of
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.markup import Markup, cut, folded, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar, in_chunks, ruler, shade
from backcast.engine.interfaces.view.whatif_form import whatif_asked
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.exchanges.requests import RecordedRequest, body_of, digest_of_body
from backcast.engine.replay.foreign_prompts import (
    Anatomy,
    PromptDifference,
    anatomy,
    compared,
    request_at,
)


def foreign_panel(maker: PanelMaker, version: int) -> Markup:
    """Return the panel of a request: its parts in tokens, and as they were sent."""
    try:
        reader = maker.reader
        found = request_at(reader.store, reader.task, str(version))
        parts = anatomy(reader.store, reader.task, found, message_counter().count)
        shown = request_at(maker.shown.store, maker.shown.task, str(version))
    except (BackcastError, ValueError) as error:
        return tag("p", f"this request cannot be read: {error}", class_="bad")
    total = parts.tokens or parts.server or sum(part.tokens for part in parts.parts)
    said = f"{total:,} tokens, {parts.size:,} bytes"
    said += f", POST {parts.path}" if parts.path else ""
    counted = (
        f"The server told no count, so these are counted as {message_counter().id} does."
        if parts.tokens is None and parts.server is None
        else None
    )
    if parts.predicted is not None:
        said += f"; {parts.predicted:,} leading tokens are those of the prompt before"
    if parts.cached is not None:
        said += f"; the server kept {parts.cached:,}"
    return tag(
        "section", tag("h2", "What the model saw ", _badge(maker, found)),
        tag("p", said, class_="said", title=counted), _budget(parts, total),
        whatif_asked(maker, version), _bodies(maker, parts, shown),
        id="prompt",
    )  # fmt: skip


def _badge(maker: PanelMaker, found: RecordedRequest) -> Markup:
    if fidelity := found.request.fidelity:
        return tag(
            "span",
            f"formed from the agent's log, by its {fidelity}",
            class_="badge untold",
            title="The log holds no bytes of this request that could be rebuilt.",
        )
    try:
        is_same = digest_of_body(body_of(found, maker.reader.store.get)) == found.request.digest
    except (BackcastError, ValueError) as error:
        return tag("span", "rebuilt: cannot be told", class_="badge untold", title=str(error))
    before = " before its secrets were masked" if maker.redacted else ""
    return tag(
        "span", f"rebuilt: {'same' if is_same else 'other'} bytes{before}",
        class_=f"badge {'same' if is_same else 'different'}",
        title="The recorded parts were put together just now, and held against the digest.",
    )  # fmt: skip


def _budget(parts: Anatomy, total: int) -> Markup:
    # Counted by an upper bound the parts may be more than the whole that the server counted.
    total = max(total, sum(part.tokens for part in parts.parts))
    groups: dict[str, int] = {}
    for part in parts.parts:
        name = group_of(part.kind, part.role)
        groups[name] = groups.get(name, 0) + part.tokens
    around = max(total - sum(groups.values()), 0)
    rows = [(name, tokens, shade(name)) for name, tokens in groups.items()]
    rows += [("template, and joins", around, "around")] if around else []
    whole = [(tokens, kind, f"{name}: {tokens:,} tokens") for name, tokens, kind in rows]
    cells = [(tag("span", name, class_=f"key {kind}"), f"{tokens:,}",
              f"{100 * tokens / max(total, 1):.1f} %") for name, tokens, kind in rows]  # fmt: skip
    return tag("div", bar(whole, total), folded("by kind", table(("kind", "tokens", "share"),
               cells), is_open=True), class_="budget")  # fmt: skip


def _bodies(maker: PanelMaker, parts: Anatomy, shown: RecordedRequest) -> Markup:
    found = []
    for at, part in enumerate(parts.parts):
        kind = shade(group_of(part.kind, part.role))
        ref = shown.parts[at].text if at < len(shown.parts) else None
        text = "" if ref is None else part_text(maker.shown.text(ref).encode(errors="replace"))
        head = tag("span", maker.mask(part.title), f" · {part.tokens:,} tokens",
                   class_=f"key {kind}")  # fmt: skip
        body = tag("pre", maker.keep(joined(cut(text))), class_="text")
        found.append(tag("div", folded(head, body, is_open=part.kind not in ("setting", "tool"),
                                       class_="part"), data_i=part.title))  # fmt: skip
    title = (
        "The parts, in their order" if shown.request.fidelity else "The parts, as they were sent"
    )
    return folded(title, in_chunks(maker, found), is_open=True, class_="seen")


def foreign_difference(maker: PanelMaker, before: int, after: int) -> Markup:
    """Return the panel of the difference between two requests."""
    store, task = maker.reader.store, maker.reader.task
    sides = [request_at(store, task, str(version)) for version in (before, after)]
    found = compared(store, task, sides[0], sides[1], message_counter().count)
    total = sum(part.tokens for part in found.after.parts)
    lines: list[object] = []
    if broken := found.broken:
        again = broken.again if found.again is None else found.again
        kept = broken.kept
        said = f"The {maker.mask(broken.part.title)} is the first that differs ({broken.how}):"
        lines.append(tag("p", f"{said} {again:,} tokens must be read again.", class_="said"))
    else:
        again = found.goes_on if found.again is None else found.again
        kept = max(total - again, 0)
        lines.append(tag("p", f"The prefix holds: the later goes on from the earlier, {again:,}"
                         " tokens are new", class_="said"))  # fmt: skip
    return joined([ruler(kept, again), *lines, *_lists(maker, found)])


def _lists(maker: PanelMaker, found: PromptDifference) -> Iterator[Markup]:
    sides = ((found.gone, "-", "gone"), (found.new, "+", "new"), (found.moved, "~", "moved"))
    for parts, sign, title in sides:
        rows = [(sign, f"{part.tokens:,}", maker.mask(part.title), maker.mask(part.words))
                for part in parts[:200]]  # fmt: skip
        if rows:
            yield tag("h3", f"{len(parts)} {title}")
            yield table(("", "tokens", "part", "begins"), rows)
