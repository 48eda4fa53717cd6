"""The tool `explain`: why a step ended as it did, and what its prompt held and lacked."""

from collections.abc import Iterator
from typing import Any

from backcast.domain.allocation import DUPLICATE
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BackcastError
from backcast.domain.events import (
    ChecksRan,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    ModuleRenamed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.interfaces.anatomy_text import anatomy_text
from backcast.engine.interfaces.blamed import blame_lines, blamed
from backcast.engine.interfaces.foreign_prompts import origin_lines
from backcast.engine.interfaces.mcp.answers import ToolAnswer
from backcast.engine.interfaces.mcp.comparing import against_before
from backcast.engine.interfaces.mcp.runs import AskedRun, RunShelf
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.interfaces.views import event_title, one_line
from backcast.engine.replay.foreign_prompts import anatomy, request_at
from backcast.engine.replay.prompt_words import origins

WIDTH = 200
WRITTEN = 12
"Lines of an answer or an output that are shown."
EVENTS, MOST = 30, 12
GLOSSES = {DUPLICATE: "another item has its text", "superseded": "a newer one is shown"}
"Reasons of what is not missed."
TROUBLE = ("failed", "refused", "checks")
"Outcomes that somebody may ask about."


def explain(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    """Explain a step, or why a node is in its prompt or out of it."""
    run = shelf.run(asked["task"])
    sequence = run.reader.sequence
    more = "raise max_tokens, or name a node"
    if asked["node"]:
        version = run.prompt(asked["event"]) if asked["event"] else _last_prompt(run)
        lines = list(_node(run, version, asked["node"]))
        return ToolAnswer(lines, run.stale(run.reader.moment(version)), "raise max_tokens")
    step = sequence.at(run.version(asked["event"])) if asked["event"] else sequence.worst()
    lines = [*_outcome(run, step), *_prompt(run, step), *_said(run, step)]
    return ToolAnswer(lines, run.stale(run.reader.moment(step.prompt or step.last)), more)


def _last_prompt(run: AskedRun) -> int:
    worst = run.reader.sequence.worst()
    return worst.prompt or run.prompt(str(run.reader.sequence.version))


def _node(run: AskedRun, version: int, node: str) -> Iterator[str]:
    if not run.foreign:
        yield from blame_lines(blamed(run.store, run.task, str(version), node))
        return
    request = request_at(run.store, run.task, str(version))
    found = origins(run.store, run.task, request, node, message_counter().count)
    yield from origin_lines(run.store, run.task, request, found)


def _outcome(run: AskedRun, step: RunStep) -> Iterator[str]:
    """Yield what a step is, what came of it, and why."""
    steps = run.reader.sequence.steps
    outcome = f": {step.label}" if step.label else ""
    yield (
        f"{run.task} step {step.number} of {steps[-1].number}, events {step.first} to {step.last},"
        f" {one_line(step.name, WIDTH)!r}{outcome}"
    )
    yield from (f"why: {one_line(line, 2 * WIDTH)}" for line in step.why.splitlines())
    events = list(run.store.read(run.task, after=step.first - 1, last=step.last))
    for event in events:
        yield from _failures(run, event)
    trouble = step.outcome in TROUBLE
    later = [one for one in steps if one.number > step.number]
    if not trouble:
        bad = [one for one in steps if one.outcome in TROUBLE]
        names = ", ".join(f"{one.number} ({one.label}, event {one.event})" for one in bad[-MOST:])
        yield f"it did not fail; steps of this run with trouble: {names or 'none'}"
    if trouble and not later:
        yield "it is the last step of the run"
    elif trouble:
        again = next((one for one in later[1:] if _about(one) == _about(step)), None)
        yield f"next: {_next(later[0])}"
        if again:
            yield f"the same again: {_next(again)}"
    yield "events:"
    for event in events[:EVENTS]:
        yield f"  {event.version} {event.type} {one_line(event_title(event), 120)}"
    if len(events) > EVENTS:
        yield f"  and {len(events) - EVENTS} more"


def _next(step: RunStep) -> str:
    name = one_line(step.name, 80)
    return f"step {step.number} (event {step.event}), {name!r}: {step.label or 'no outcome'}"


def _about(step: RunStep) -> str:
    return step.name.partition(" #")[0].partition(" attempt")[0]


def _failures(run: AskedRun, event: WorkflowEvent) -> Iterator[str]:
    """Yield each check that failed, where, and the step that wrote it; the end of an output."""
    fact, sequence = event.fact, run.reader.sequence
    if isinstance(fact, ChecksRan):
        for failure in fact.failures:
            writer = sequence.writer_of(failure.at.rpartition(":")[0] or failure.at, event.version)
            by = f", written in step {sequence.at(writer).number}" if writer else ""
            at = f" at {escaped(failure.at)}{by}" if failure.at else ""
            yield f"failed check {one_line(failure.name, 120)}{at}"
            if line := _line_at(run, failure.at, event.version):
                yield f"  {line}"
        if fact.unmet:
            output = run.reader.text(fact.output) if fact.output else fact.preview or ""
            lines = output.rstrip().splitlines()[-WRITTEN:]
            yield from ["its output ends:", *(f"  {one_line(line, WIDTH)}" for line in lines)]
    if isinstance(fact, ToolReturned) and fact.failed:
        text = run.reader.text(fact.output).rstrip().splitlines()
        yield f"the tool {escaped(fact.tool or '')} failed; its output ends"
        yield from (f"  {one_line(line, WIDTH)}" for line in text[-WRITTEN:])


def _line_at(run: AskedRun, place: str, version: int) -> str:
    """Return the line of a module at a place such as `money.py:10`, as it was then."""
    path, _, number = place.rpartition(":")
    writer = run.reader.sequence.writer_of(path, version)
    event = run.reader.event(writer) if writer and number.isdecimal() else None
    if event is None or not isinstance(event.fact, ModuleIteration | ModuleRenamed):
        return ""
    lines = run.reader.text(event.fact.source).splitlines()
    at = int(number) - 1
    return f"line {number}: {one_line(lines[at].strip(), WIDTH)}" if 0 <= at < len(lines) else ""


def _prompt(run: AskedRun, step: RunStep) -> Iterator[str]:
    if not step.prompt:
        yield "no prompt was recorded in this step"
    elif step.foreign:
        yield from _foreign(run, step)
    else:
        yield from _own(run, step)


def _foreign(run: AskedRun, step: RunStep) -> Iterator[str]:
    """Yield what a request was made of, and where it left the one before."""
    request = request_at(run.store, run.task, str(step.prompt))
    if before := run.before(step.prompt):
        yield "against the prompt before:"
        yield from (f"  {line}" for line in against_before(run, before.prompt, step.prompt))
    parts = anatomy(run.store, run.task, request, message_counter().count)
    yield from anatomy_text(parts, run.task).split("\n")


def _own(run: AskedRun, step: RunStep) -> Iterator[str]:
    """Yield a prompt's budget, what it lacked, what fell out, and what it held."""
    event = run.reader.event(step.prompt)
    if event is None or not isinstance(event.fact, ContextBuilt):
        yield f"the prompt, event {step.prompt}, cannot be read"
        return
    fact, figures = event.fact, run.reader.figures(step.prompt)
    profile = run.reader.profile(fact)
    room = f" of {profile.prompt:,}, {profile.generation:,} kept for the answer" if profile else ""
    rebuilt = f"; rebuilt from the log: {figures.rebuilt}" if figures else ""
    yield f"prompt, event {step.prompt}: {fact.tokens or 0:,} tokens{room}{rebuilt}"
    filled = [f"{name} {tokens:,}" for name, tokens in fact.sections.items() if tokens]
    yield f"tokens by section: {', '.join(filled) or 'none'}"
    if figures and figures.accepted and figures.used:
        shown = figures.used - len(figures.missed)
        yield f"of {figures.used} known things that the accepted code used it showed {shown}"
        yield from (f"  used but not shown: {escaped(node)}" for node in figures.missed)
    elif not (figures and figures.accepted):
        yield "no code was accepted of it, so what it lacked cannot be told from code"
    if fact.omissions:
        yield f"fell out ({len(fact.omissions)}):"
    used = figures.omitted_used if figures else ()
    marked = [(one, place < len(used) and used[place]) for place, one in enumerate(fact.omissions)]
    marked.sort(key=lambda pair: (not pair[1], pair[0].reason in GLOSSES))
    for omission, later in marked:
        reason = GLOSSES.get(omission.reason, omission.reason)
        mark = ", and was used later" if later else ""
        yield f"  {one_line(omission.node, 120)}: {one_line(reason, 80)}{mark}"
    yield f"held ({len(fact.items)}):"
    for item in fact.items:
        yield f"  {one_line(item.node, 120)} {item.level}, {item.tokens} tokens ({item.section})"


def _said(run: AskedRun, step: RunStep) -> Iterator[str]:
    """Yield the beginnings of what was answered and said in a step."""
    for event in run.store.read(run.task, after=step.first - 1, last=step.last):
        if isinstance(event.fact, ModelReplied | MessageReceived) and event.fact.text:
            try:
                text = run.reader.text(event.fact.text).splitlines()
            except BackcastError as error:
                text = [str(error)]
            who = "the model answered" if isinstance(event.fact, ModelReplied) else "a message"
            yield f"{who}, event {event.version}, {len(text)} lines:"
            yield from (f"  {one_line(line, WIDTH)}" for line in text[:WRITTEN])
            if len(text) > WRITTEN:
                yield f"  … {len(text) - WRITTEN} more lines"
