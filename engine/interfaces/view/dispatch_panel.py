"""The panel of a dispatched agent: what it was given, what it claims, and what was found."""

import re
from collections.abc import Iterator
from typing import Any

from backcast.domain.dispatch_events import ClaimChecked, DispatchStarted, ResultClaimed
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.markup import Markup, cut, folded, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar, in_chunks, legend
from backcast.engine.interfaces.view.run_step import RunStep

_HEADING = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
"Where a section of a prompt begins that was recorded as one text."


def dispatch_panel(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return the panel of a step in which an agent was started, or went on; None for others."""
    if step.first not in maker.shown.sequence.dispatched:
        event = maker.shown.event(step.first)
        dispatch = getattr(event.fact, "dispatch", 0) if event else 0
        return _claimed(maker, step) if dispatch else None
    event = maker.shown.event(step.first)
    if event is None or not isinstance(event.fact, DispatchStarted):
        return None
    return joined([_claimed(maker, step), _given(maker, event.fact)])


def _claimed(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return what the agent claims beside what was found."""
    claim: ResultClaimed | None = None
    check: ClaimChecked | None = None
    for event in maker.shown.store.read(
        maker.shown.task, after=step.first - 1, last=step.last,
        types=["RESULT_CLAIMED", "CLAIM_CHECKED"],
    ):  # fmt: skip
        if isinstance(event.fact, ResultClaimed):
            claim = event.fact
        elif isinstance(event.fact, ClaimChecked):
            check = event.fact
    if claim is None and check is None:
        return None
    title = "What it claims, and what was found"
    if check is None:
        title = (
            "What it says" if claim and claim.role == "reviewer" else "What it claims; unchecked"
        )
    rows = [row for row in _rows(claim, check) if any(row[1:])]
    holds: Markup | None = None
    if check is not None:
        words = "the work stands" if check.accepted else "the work does not stand"
        kind = "same" if check.accepted else "different"
        holds = tag("span", words, class_=f"badge {kind}")
    differs = [tag("p", line, class_="bad") for line in (check.differences if check else ())]
    found = table(("", "claimed", "found"), rows)
    return tag("section", tag("h2", title, " ", holds), found, *differs, class_="claim")


def _rows(claim: ResultClaimed | None, check: ClaimChecked | None) -> Iterator[tuple[object, ...]]:
    result: dict[str, Any] = (claim.result if claim else None) or {}
    if claim and claim.error:
        yield "result", f"{claim.error}: {claim.message or ''}", ""
    status = result.get("status") or result.get("assessment") or ""
    found = "" if check is None else check.reason or ("accepted" if check.accepted else "refused")
    yield "status", str(status), found
    files = ", ".join(map(str, result.get("files_changed") or ()))
    changed = ", ".join(f"{one.path} ({one.change})" for one in check.files) if check else ""
    yield "files", files, changed
    said = [f"{test.get('command')}: {'passed' if test.get('passed') else 'failed'}"
            for test in result.get("tests") or () if isinstance(test, dict)]  # fmt: skip
    yield "tests", "; ".join(said), _tests(check)
    for name in ("summary", "required_fixes", "follow_up_actions"):
        value = result.get(name)
        words = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
        yield name.replace("_", " "), words, ""


def _tests(check: ClaimChecked | None) -> str:
    if check is None:
        return ""
    if check.passed is None:
        return "none was run"
    counts = ((check.passed, "passed"), (check.failed, "failed"), (check.errors, "errors"),
              (check.skipped, "skipped"))  # fmt: skip
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "none"
    return f"{said} ({', '.join(check.tests)})" if check.tests else said


def _given(maker: PanelMaker, fact: DispatchStarted) -> Markup:
    """Return the prompt of a dispatch by its sections."""
    sections = list(_sections(maker, fact))
    whole = [(tokens, f"s{at % 10}", f"{name}: {tokens:,} tokens")
             for at, (name, _, tokens, _) in enumerate(sections)]  # fmt: skip
    total = sum(tokens for _, _, tokens, _ in sections)
    said = f"{fact.prompt_tokens or total:,} tokens in {len(sections)} sections"
    if built := fact.built:
        said += (f", of {built.room:,} that it may have in a window of {built.window:,}; stage:"
                 f" {built.stage}; counted by {built.tokenizer}")  # fmt: skip
        whole.append((max(built.room - total, 0), "free", f"free: {max(built.room - total, 0):,}"
                      " tokens"))  # fmt: skip
    if fact.recorded_as:
        said += f". Its own calls were recorded as {fact.recorded_as}"
    bodies = [
        tag("div", folded(tag("span", f"{name}{level} · {tokens:,} tokens",
                              class_=f"key s{at % 10}"),
                          tag("pre", maker.keep(joined(cut(text))), class_="text"), is_open=True,
                          class_="part"), data_i=name)
        for at, (name, level, tokens, text) in enumerate(sections)
    ]  # fmt: skip
    return tag(
        "section", tag("h2", "What the agent was given"), tag("p", f"{said}.", class_="said"),
        tag("div", bar(whole, max(sum(tokens for tokens, _, _ in whole), 1)), legend(whole),
            class_="budget"),
        folded("The sections, in their order", in_chunks(maker, bodies), is_open=True,
               class_="seen"), id="prompt",
    )  # fmt: skip


def _sections(maker: PanelMaker, fact: DispatchStarted) -> Iterator[tuple[str, str, int, str]]:
    """Yield the name, the level, the tokens and the text of each section that is shown."""
    text = maker.shown.text
    if fact.built is not None:
        for part in fact.built.parts:
            if part.tokens and part.level < len(part.levels):
                level = f", level {part.level + 1} of {len(part.levels)}" * (len(part.levels) > 1)
                yield part.name, level, part.tokens, text(part.levels[part.level])
        return
    count = message_counter().count
    for section in _HEADING.split(text(fact.prompt)):
        first = section.strip().split("\n", 1)[0]
        name = first.lstrip("# ") if first.startswith("#") else "rules"
        if section.strip():
            yield name[:80], "", count(section), section
