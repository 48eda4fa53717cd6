"""The panel of a step: its events, what was answered, and what came of it."""

from collections.abc import Iterator
from functools import partial
from itertools import groupby

from backcast.domain.context_events import ContextBuilt
from backcast.domain.dispatch_events import ClaimChecked, ResultClaimed
from backcast.domain.events import (
    ChecksRan,
    Committed,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
    StepStarted,
    ToolCalled,
    ToolReturned,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.json_text import json_text
from backcast.domain.memory_events import MapEdited, SummaryWritten
from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.view import dispatch_steps
from backcast.engine.interfaces.view.asked_panel import asked_panel
from backcast.engine.interfaces.view.changed_text import changed
from backcast.engine.interfaces.view.checks_table import checks_table
from backcast.engine.interfaces.view.commit_files import commit_files
from backcast.engine.interfaces.view.dispatch_panel import dispatch_panel
from backcast.engine.interfaces.view.foreign_panel import foreign_panel
from backcast.engine.interfaces.view.formed_panel import formed_panel
from backcast.engine.interfaces.view.lacking import lacked
from backcast.engine.interfaces.view.markup import (
    Markup,
    cut,
    folded,
    joined,
    long_text,
    table,
    tag,
)
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.prompt_panel import prompt_panel
from backcast.engine.interfaces.view.read_again import read_again
from backcast.engine.interfaces.view.run_step import GLYPHS, RunStep
from backcast.engine.interfaces.view.unasked_panel import behind, unasked_panel
from backcast.engine.interfaces.views import UNTIMED, event_title

SHORT = 600
"Letters up to which an answer or a message stands open."
FEW = 60
"Events of one step that are shown; a commit may have thousands."
ALIKE = 3
"Events in a row that only their own program reads, of which more are folded."
SAID = (StepStarted, ModuleOutlined, ContextBuilt, ResultClaimed)
"Facts of which the panel shows all that matters elsewhere."


def step_panel(maker: PanelMaker, step: RunStep) -> Markup:
    """Return the panel of a step, with its prompt."""
    steps = maker.shown.sequence.steps
    place = steps.index(step)
    prompt = _prompt(maker, step)
    return joined(
        [
            tag(
                "section", _title(maker, step, steps[-1].number), _why(step), _lacked(maker, step),
                read_again(maker, step), None if step.asked else behind(maker, step),
                _links(maker, step, place), _events(maker, step), id="step",
                class_=f"of-{step.outcome}", data_first=step.first, data_last=step.last,
            ),
            prompt or dispatch_panel(maker, step)
            or unasked_panel(maker, step, partial(_prompt, maker)),
        ]
    )  # fmt: skip


def _prompt(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return the panel of the prompt of a step; None where it has none."""
    if step.prompt:
        return (foreign_panel if step.foreign else prompt_panel)(maker, step.prompt)
    return formed_panel(maker, step.replied) if step.replied else None


def _title(maker: PanelMaker, step: RunStep, last: int) -> Markup:
    place = f"Step {step.number} of {last}: " if step.number else ""
    mark = tag("b", f"{GLYPHS[step.outcome]} {step.label}", class_=f"mark of-{step.outcome}")
    when = step.at.strftime("%Y-%m-%d %H:%M:%S") if step.at and step.at.year != UNTIMED else ""
    return tag("h2", place, step.title, " ", mark if step.label else None,
               tag("time", when, class_="began") if when else None)  # fmt: skip


def _why(step: RunStep) -> Markup | None:
    if not step.why:
        return None
    return tag("p", step.why, class_="why")


def _lacked(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return what the prompt of a step with trouble lacked that the accepted code then used."""
    if not step.why or step.foreign or not step.prompt:
        return None
    return lacked(maker, step.prompt)


def _links(maker: PanelMaker, step: RunStep, place: int) -> Markup:
    steps, links = maker.shown.sequence.steps, list[object]()
    if place:
        links.append(maker.link(steps[place - 1].event, "← step before"))
    if place + 1 < len(steps):
        links.append(maker.link(steps[place + 1].event, "next step →"))
    if step.first > 1:
        links.append(tag("a", "what it changed", href=f"#c={step.first - 1}..{step.last}",
                         title="key c"))  # fmt: skip
    links += [
        tag("a", words, href=maker.pair_href(other.asked, step.asked),
            data_d=f"{other.asked}..{step.asked}", title="key d")
        for other, words in compared_with(steps, step)
    ]  # fmt: skip
    return tag("p", *(part for link in links for part in (link, " ")), class_="links")


def compared_with(steps: list[RunStep], step: RunStep) -> Iterator[tuple[RunStep, str]]:
    """Yield the steps whose prompts one would compare a step's with, and in what words."""
    if not step.asked:
        return
    place = steps.index(step)
    earlier = [other for other in steps[:place] if other.asked and other.foreign == step.foreign]
    if not earlier:
        return
    yield earlier[-1], "compare with the prompt before"
    about = step.name.partition(" #")[0].partition(" attempt")[0]
    alike = [other for other in earlier[:-1] if other.name.startswith(about)]
    if alike and not step.foreign and not earlier[-1].name.startswith(about):
        yield alike[-1], f"compare with step {alike[-1].number}, about the same"


def _events(maker: PanelMaker, step: RunStep) -> Markup:
    last = min(step.last, step.first + FEW - 1)
    read = list(maker.shown.store.read(maker.shown.task, after=step.first - 1, last=last))
    rows, is_told = list[Markup](), bool(step.prompt) and not step.foreign
    for kind, alike in groupby(read, lambda event: isinstance(event.fact, UnknownFact)):
        events = [
            tag("div", *_row(maker, event, is_told=is_told), class_="event", data_e=event.version)
            for event in alike
        ]
        if kind and len(events) > ALIKE:
            events = [
                folded(f"{len(events)} events that only their own program reads", joined(events))
            ]
        rows += events
    more = step.last - last
    if more:
        rows.append(tag("p", f"… and {more:,} events more", class_="note"))
    listed = tag("div", *rows, class_="events")
    if not is_told:
        return joined([commit_files(maker, read, more), listed])
    return joined([asked_panel(maker, step, read), folded(f"Events: {len(read)}", listed)])


def _row(maker: PanelMaker, event: WorkflowEvent, *, is_told: bool) -> Iterator[object]:
    title = (
        event.fact.sha[:12]
        if isinstance(event.fact, Committed)
        else event_title(event, maker.shown.text)
    )
    yield tag(
        "p", maker.link(event.version), " ",
        tag("time", event.timestamp.strftime("%Y-%m-%d %H:%M:%S"), class_="clock"), " ",
        tag("span", event.type, class_="type"), " ",
        tag("span", title if len(title) <= 300 else f"{title[:300]} …", class_="told"), " ",
        tag("span", event.writer, class_="writer"),
    )  # fmt: skip
    yield from _detail(maker, event, is_told=is_told)


def _detail(maker: PanelMaker, event: WorkflowEvent, *, is_told: bool) -> Iterator[Markup]:
    """Yield what an event tells beside its title, and beside what the head of its step told."""
    fact, text, more = event.fact, maker.shown.text, Markup("")

    def body(title: str, ref: str | None, *, is_open: bool = False) -> Iterator[Markup]:
        if ref:
            whole = text(ref)
            kept = maker.keep(joined(cut(whole)))
            is_short = is_open and len(whole) <= SHORT
            yield folded(title, tag("pre", kept, class_="text"), is_open=is_short)

    match fact:
        case ModelReplied():
            yield from body("thoughts", fact.thinking)
            if not is_told:
                yield from body("the model's answer", fact.text, is_open=True)
        case MessageReceived():
            yield from body("message", fact.text, is_open=True)
        case ModelFailed():
            yield tag("p", fact.reason or "", class_="why")
        case ModuleIteration() | ModuleRenamed() | SourceRead():
            yield from changed(maker, event)
            yield from body("the text", fact.source)
        case Committed(message=words) if "\n" in words.strip():
            yield folded("the message", long_text(words.strip()), is_open=len(words) <= SHORT)
        case ChecksRan():
            if not is_told:
                yield checks_table(maker, fact, event)
            output = text(fact.output) if fact.output else fact.preview or ""
            if output:
                yield folded("output", long_text(output), is_open=False)
        case SummaryWritten():
            yield folded(f"summary of {fact.node or 'nothing'}", long_text(fact.text or ""))
        case ToolCalled():
            yield folded("arguments", long_text(_json(fact.arguments)))
        case ClaimChecked() if fact.failures:
            yield table(("check", "message", "raised at"),
                        [(tag("code", failure.name), failure.message, tag("code", failure.at))
                         for failure in fact.failures])  # fmt: skip
        case ToolReturned():
            yield from body("output", fact.output, is_open=fact.failed)
        case MapEdited():
            edits = [(edit.operation, edit.item, edit.section, edit.text, edit.refused)
                     for edit in fact.edits]  # fmt: skip
            yield folded("edits", table(("edit", "item", "section", "text", "refused"), edits))
        case _ if not isinstance(fact, SAID) and (data := fact.data):
            more = folded("more", long_text(_json(plain(data))))
    for title, ref in dispatch_steps.texts(fact):
        yield from body(title, ref, is_open=title == "the agent's answer")
    if more:
        yield more


def _json(value: object) -> str:
    return json_text(value)[:20_000]
