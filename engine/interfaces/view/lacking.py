"""What a prompt did not show that the accepted code then used: how it stood there, and why."""

from urllib.parse import quote

from backcast.domain.context_events import ContextBuilt
from backcast.domain.node import path_of
from backcast.engine.interfaces.view.markup import Markup, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import PromptFigures
from backcast.engine.replay.blame import Blame

LACKED = 4
"Things that a prompt lacked that are named beside the failure; all stand under what fell out."
SHOWN = "Shown means by more than a bare name: by its signature, or within a text that holds it."


def lacked(maker: PanelMaker, version: int) -> Markup | None:
    """Return what the prompt of an event lacked that the accepted code then used."""
    figures, event = maker.reader.figures(version), maker.reader.event(version)
    if figures is None or not figures.missed or event is None:
        return None
    if not isinstance(event.fact, ContextBuilt):
        return None
    parts: list[object] = ["Its prompt did not show what the ", accepted(maker, version), " then"
                           " used: "]  # fmt: skip
    for at, node in enumerate(figures.missed[:LACKED]):
        parts += ["" if not at else ", ", missed(maker, version, event.fact, figures, node)]
    if len(figures.missed) > LACKED:
        parts.append(f", and {len(figures.missed) - LACKED} more")
    reasons = [tag("p", why(maker, blame), class_="note") for blame in figures.blames]
    return joined([tag("p", *parts, class_="said lacked", title=SHOWN), *reasons,
                   _unplanned(maker, version, figures)])  # fmt: skip


def _unplanned(maker: PanelMaker, version: int, figures: PromptFigures) -> Markup | None:
    """Return which modules were used that the plan does not let the target import."""
    step = maker.reader.step(version)
    target = path_of(step.request.target) if step else ""
    planned = {one.path: one for one in step.known.states.progress.planned} if step else {}
    if target not in planned:
        return None
    used = [path_of(node) for node in figures.missed if not node.startswith("failure:")]
    may = {target, *planned[target].dependencies}
    outside = [path for path in dict.fromkeys(used) if path in planned and path not in may]
    if not outside:
        return None
    said = ", ".join(planned[target].dependencies) or "nothing"
    return tag("p", f"The plan lets {maker.mask(target)} import {maker.mask(said)}, and not"
               f" {maker.mask(', '.join(outside))}.", class_="note")  # fmt: skip


def missed(
    maker: PanelMaker, version: int, fact: ContextBuilt, figures: PromptFigures, node: str
) -> Markup:
    """Return the name of what a prompt lacked, and how it stood there."""
    name = maker.mask(node)
    reasons = {omission.node: omission.reason for omission in fact.omissions}
    how = reasons.get(node, "by its bare name alone" if node in figures.named else "never offered")
    code = tag("code", name)
    if node in reasons or node in figures.named:
        code = tag("a", code, href=f"#e={version}&i={quote(name)}", data_item=name)
    return joined([code, f" ({how})"])


def why(maker: PanelMaker, blame: Blame) -> Markup:
    """Return in numbers why something is out."""
    said = (f"{maker.mask(blame.node)} would take {blame.tokens:,} tokens at the least, and may"
            f" need a heading; its chance to be needed was {blame.score:.3g}.")  # fmt: skip
    rivals = [f"{maker.mask(rival.node)} ({rival.level}, {rival.tokens:,} tokens more, chance"
              f" {rival.score:.3g})" for rival in blame.rivals[:3]]  # fmt: skip
    if rivals:
        said += f" Its tokens went to {', '.join(rivals)}."
    return joined([said])


def accepted(maker: PanelMaker, version: int) -> Markup:
    """Return the words "accepted code", as a link to the step that wrote it."""
    prompt = maker.reader.prompts().get(version)
    path = path_of((prompt.fact.target or "") if prompt else "")
    sequence = maker.shown.sequence
    at = sequence.writer_of(path, prompt.accepted + 1) if prompt and path else 0
    if not at or at < version:
        return joined(["accepted code"])
    return joined(["accepted code of ", maker.link(at, f"step {sequence.at(at).number}")])
