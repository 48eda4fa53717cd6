"""The panel of a prompt: its budget, its messages, what is in it, and what fell out."""

from collections.abc import Sequence

from backcast.domain.allocation import DUPLICATE, LOWER, OVER
from backcast.domain.context_events import ContextBuilt
from backcast.domain.node import path_of
from backcast.engine.interfaces.view.item_reasons import reasons_for
from backcast.engine.interfaces.view.lacking import SHOWN, accepted, why
from backcast.engine.interfaces.view.markup import Markup, folded, joined, table, tag
from backcast.engine.interfaces.view.message_text import rank_of, seen
from backcast.engine.interfaces.view.panels import PanelMaker, bar, colour, legend
from backcast.engine.interfaces.view.reading import PromptFigures, badge
from backcast.engine.interfaces.view.tint import tinted
from backcast.engine.interfaces.view.whatif_form import whatif_asked
from backcast.engine.interfaces.view.why_form import why_asked
from backcast.engine.replay.blame import Blame
from backcast.engine.replay.diff import AROUND

FIXED = ("task description", "context map")
"Sections that have a part of the window for themselves."
FEW = 20
"Items up to which their table stands open."
GLOSSES = {
    OVER: "the room for what is known of the code was full",
    LOWER: "others were more likely to be needed",
    DUPLICATE: "the text of another item holds it",
    "superseded": "a newer one of the same is shown",
}


def prompt_panel(maker: PanelMaker, version: int) -> Markup:
    """Return the panel of the prompt that an event recorded."""
    event, shown = maker.reader.event(version), maker.shown.event(version)
    if not (event and shown and isinstance(event.fact, ContextBuilt)
            and isinstance(shown.fact, ContextBuilt)):  # fmt: skip
        return tag("p", f"event {version} cannot be read", class_="bad")
    figures = maker.reader.figures(version)
    return tag(
        "section",
        tag("h2", "What the model saw ", _badges(figures, redacted=maker.redacted)),
        budget(maker, event.fact, figures.headings if figures else None),
        _items(maker, version, shown.fact, figures),
        left_out(maker, version, shown.fact, figures),
        why_asked(maker, version) if figures else None,
        tinted(maker, version),
        seen(maker, shown.fact, figures),
        whatif_asked(maker, version) if figures else None,
        id="prompt",
    )


def _badges(figures: PromptFigures | None, *, redacted: bool) -> Markup:
    if figures is None:
        return tag("span", "no digest was recorded", class_="badge untold")
    before = " before its secrets were masked" if redacted else ""
    words = {"same": "same bytes", "different": "other bytes", "untold": "cannot be told"}
    rebuilt, derived = badge(figures.rebuilt), badge(figures.derived)
    return joined(
        [
            tag(
                "span", f"rebuilt: {words[rebuilt]}{before}", class_=f"badge {rebuilt}",
                title=f"The recorded texts were put together just now: {figures.rebuilt}.",
            ),
            " ",
            tag(
                "span", f"built anew by today's code: {words[derived]}", class_=f"badge {derived}",
                title=f"From what was known then: {figures.derived}.",
            ),
        ]
    )  # fmt: skip


def budget(maker: PanelMaker, fact: ContextBuilt, headings: int | None = None) -> Markup:
    """Return the budget of a prompt: tokens by section, the rest that is free, the reserve; and
    about how many the headings over what is known took, where that can be told."""
    profile, total = maker.reader.profile(fact), fact.tokens or 0
    around = max(total - sum(fact.sections.values()), 0)
    used = [(tokens, colour(name), f"{name}: {tokens:,} tokens")
            for name, tokens in fact.sections.items()]  # fmt: skip
    used.append((around, "around", f"system prompt, headings and template: {around:,} tokens"))
    if profile is None:
        said = f"{total:,} tokens; the log does not tell the model's window"
        return tag("div", bar(used, total), legend(used), tag("p", said), class_="budget")
    free = profile.prompt - total
    known = sum(tokens for name, tokens in fact.sections.items() if name not in FIXED)
    whole = [
        *used, (max(free, 0), "free", f"free: {free:,} tokens"),
        (profile.generation, "reserve", f"kept for the answer: {profile.generation:,} tokens"),
    ]  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for name, tokens in [*fact.sections.items(), (AROUND, around)]:
        is_section = name in fact.sections
        row, hue = profile.rows.get(name, 0), colour(name) if is_section else "around"
        small = bar([(tokens, hue, f"{tokens:,} tokens")], max(row, tokens), "small")
        rows.append((tag("span", name, class_=f"key {hue}"), small, f"{tokens:,}",
                     f"{row:,}" if row or is_section else ""))  # fmt: skip
    rows.append((tag("span", "free", class_="key free"), "", f"{free:,}", ""))
    rows.append((tag("span", "kept for the answer", class_="key reserve"), "",
                 f"{profile.generation:,}", ""))  # fmt: skip
    used_up = (
        f"{total:,} of {profile.prompt:,} tokens used, {free:,} free,"
        f" {profile.generation:,} kept for the answer ({profile.name})."
    )
    said = (
        f"What is known of the code may take {profile.context:,}"
        f" of them, whatever else is free, and took {known:,}"
    )
    said += ", without its headings." if headings is None else (
        f" and about {headings:,} for its headings: {max(profile.context - known - headings, 0):,}"
        " are left."
    )  # fmt: skip
    return tag(
        "div", bar(whole, profile.window), legend(whole),
        tag("p", used_up, class_="said", title=f"Counted by {fact.tokenizer or 'nobody'}. {said}"),
        folded("budgets by section", table(("section", "used", "tokens", "budget"), rows),
               tag("p", said, class_="note"),
               tag("p", "A section fills its own budget first, a budget of 0 nothing; then all"
                   " together share what is left, by their items' chance to be needed per token.",
                   class_="note")),
        class_="budget",
    )  # fmt: skip


def left_out(
    maker: PanelMaker, version: int, fact: ContextBuilt, figures: PromptFigures | None
) -> Markup:
    """Return what fell out, why, and whether the accepted code then used it."""
    used = figures.omitted_used if figures else ()
    marks = [used[at] if at < len(used) else False for at in range(len(fact.omissions))]
    inside = figures.within if figures else ()
    held = [inside[at] if at < len(inside) else False for at in range(len(fact.omissions))]
    ordered = sorted(zip(fact.omissions, marks, held, strict=True), key=lambda row: not row[1])
    within = {item.node for item in fact.items}
    blames = {blame.node: blame for blame in figures.blames} if figures else {}
    rows = [
        (_out(omission.node, within), omission.section,
         _reason(maker, omission.reason, blames.get(omission.node), is_held=is_held),
         _used(is_used))
        for omission, is_used, is_held in ordered
    ]  # fmt: skip
    count = sum(marks)
    head = f"What fell out: {len(rows)}"
    parts: list[object] = []
    if figures and figures.accepted:
        shown = figures.used - len(figures.missed)
        said: list[object] = [f"Of {figures.used} known things that the "]
        said += [accepted(maker, version), f" used, the prompt showed {shown}"]
        said.append(f", and {len(figures.named)} by its bare name." if figures.named else ".")
        if not figures.used:
            said = ["The ", accepted(maker, version), " used nothing of the project that was known"
                    " before."]  # fmt: skip
        parts += [tag("p", *said, class_="said"), tag("p", SHOWN, class_="note")]
        head += f", {count} of them used later" if count else ", none used later"
    elif figures:
        parts.append(tag("p", "Nothing that was accepted came of this prompt, so what it lacked"
                         " cannot be told from code.", class_="note"))  # fmt: skip
    names = {one.node for one in fact.omissions}
    unoffered = [maker.mask(node) for node in (figures.missed if figures else ())]
    unoffered = [node for node in unoffered if node not in names]
    named = [maker.mask(node) for node in (figures.named if figures else ())]
    unoffered = [node for node in unoffered if node not in named]
    if named:
        parts.append(tag("p", "Used, and shown by the bare name alone: ", _codes(named),
                         class_="bad"))  # fmt: skip
    if unoffered:
        parts.append(tag("p", "Used and never offered: ", _codes(unoffered), class_="bad"))
    parts.append(table(("item", "section", "why", "used later"), rows, keep=maker.keep))
    if not rows:
        parts.append(tag("p", "Nothing was left out.", class_="note"))
    return folded(
        head, *parts, is_open=bool(count or unoffered or named or 0 < len(rows) <= 12), class_="out"
    )


def _out(node: str, within: set[str]) -> Markup:
    """Return the name of what fell out, as a place that a link leads to, and a link to its code."""
    code = tag("code", node, class_="item", data_i=None if node in within else node)
    path = path_of(node)
    if not path or node.startswith(("failure:", "task:")):
        return code
    return joined([code, tag("a", "its text then", href="#moment", data_source=path, class_="sub")])


def _codes(nodes: Sequence[str]) -> Markup:
    return Markup(", ".join(tag("code", node) for node in nodes))


def _reason(maker: PanelMaker, reason: str, blame: Blame | None, *, is_held: bool) -> Markup:
    gloss = GLOSSES.get(reason)
    words: list[object] = [f"{reason}: {gloss}" if gloss else reason]
    if is_held:
        words.append("; yet it stands in the text of another item, which is shown")
    if blame:
        words += [". ", why(maker, blame)]
    return tag("span", *words)


def _used(is_used: bool) -> object:
    return tag("strong", "used, and not shown", class_="bad") if is_used else "no"


def _items(
    maker: PanelMaker, version: int, fact: ContextBuilt, figures: PromptFigures | None
) -> Markup:
    """Return the items of a prompt as a table, and why each is in it."""
    rows, reason = [], reasons_for(maker.reader.step(version))
    for at, item in enumerate(fact.items):
        rank = rank_of(figures, at)
        chance = f"{rank.priority}, score {rank.score:.3g}" if rank else ""
        rows.append(
            (joined([
                tag("a", tag("code", item.node), href="#prompt", data_item=item.node),
                tag("span", tag("span", item.section, class_=f"key {colour(item.section)}"),
                    f" · found {item.found}" if item.found else "", class_="sub"),
             ]),
             joined([maker.mask(reason(item)), tag("span", chance, class_="sub")]),
             item.level, f"{item.tokens:,}",
             maker.links(rank.because) if rank and rank.because else "")
        )  # fmt: skip
    head = ("item", "why", "level", "tokens", "from events")
    return folded(f"What is in it: {len(rows)} items, and why", table(head, rows, keep=maker.keep),
                  is_open=len(rows) <= FEW, class_="in")  # fmt: skip
