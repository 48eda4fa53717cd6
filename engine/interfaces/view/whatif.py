"""What would another policy have shown? The difference, the run over, and the lines that pin it."""

from collections.abc import Callable, Iterator, Sequence
from shlex import quote

from backcast.domain.errors import InputError
from backcast.domain.name_list import first_names
from backcast.domain.node import path_of
from backcast.engine.context.policies import changed
from backcast.engine.interfaces.regress_report import NOTE
from backcast.engine.interfaces.view import lacking
from backcast.engine.interfaces.view.difference_panel import difference_parts
from backcast.engine.interfaces.view.markup import Markup, folded, joined, long_text, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar
from backcast.engine.interfaces.view.whatif_form import is_of_messages
from backcast.engine.interfaces.view.whatif_messages import message_parts
from backcast.engine.replay.pairs import Side, compared
from backcast.engine.replay.regress import Comparison, PolicySummary, worst
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.replay.what_if import (
    EDITED,
    RECORDED,
    OtherPolicy,
    RunTrial,
    UsedHere,
    run_trial,
    used_here,
)

SHOWN = 8
"Prompts that lose most, and nodes of a line, that are named."
WAYS = {"name": "by its bare name", "out": "not at all", "within": "within another item"}
PINNED = 3
"Items that the pytest lines hold."


def whatif_panel(title: str, *parts: object) -> Markup:
    """Return the panel of another policy; its parts are given."""
    return tag("section", tag("h2", f"What if: {title[:80]}"), *parts, id="difference",
               class_="whatif-panel")  # fmt: skip


def whatif_parts(
    maker: PanelMaker, version: int, other: OtherPolicy, is_over: Callable[[], bool]
) -> Iterator[Markup]:
    """Yield what another policy would have shown at a prompt and over its run, as it is found."""
    if is_of_messages(maker, version):
        yield from message_parts(maker, version, other, is_over)
        return
    step = step_asked(maker, version)
    yield step_part(maker, step, other)
    here = used_here(maker.reader.pool, step, other.policy)
    yield used_part(maker, here)
    trial = run_trial(maker.reader.store, maker.reader.task, other, is_over)
    yield run_part(maker, trial)
    yield within_part(maker, trial, version)
    yield pin_part(maker, version, other, here)


def step_asked(maker: PanelMaker, version: int) -> ReplayStep:
    """Return the prompt that is asked about; `InputError` where there is none."""
    step = maker.reader.step(version)
    if step is None or step.built is None or step.built.stood_at is None:
        raise InputError(f"needed the event of a prompt, found event {version}")
    return step


def step_part(maker: PanelMaker, step: ReplayStep, other: OtherPolicy) -> Markup:
    """Return the difference at one prompt."""
    reader, version = maker.reader, step.version
    assert step.built
    found = compared(reader.pool, step, Side(RECORDED), Side(other.name, other.policy))
    settings = changed(reader.pool.settings(step.built)[1], other.policy)
    number = reader.sequence.at(version).number
    return joined([
        tag("p", maker.link(version, f"step {number}"), f" as its own policy builds it, and as"
            f" {maker.mask(other.name)} does, after the prompts before it as they were recorded."
            " What a model would have answered, nobody can tell.", class_="note"),
        *difference_parts(maker, found, None),
        folded(f"{len(settings)} settings differ", long_text(maker.mask("\n".join(settings)))),
    ])  # fmt: skip


def used_part(maker: PanelMaker, here: UsedHere) -> Markup:
    """Return whether the other prompt shows what came to be used."""
    if not here.used:
        said = "Nothing is known that was used here, so that nothing of it could be lost."
        return tag("p", said, class_="note")
    after = here.shown - len(here.lost) + len(here.gained)
    said = f"Of {here.used} known things that the accepted code used, its own prompt showed"
    parts: list[object] = [f"{said} {here.shown}, this one {after}."]
    for nodes, words, kind in ((here.lost, " Lost: ", "is-out"), (here.gained, " Won: ", "is-in")):
        if nodes:
            named = first_names((maker.mask(node) for node in nodes), SHOWN)
            parts.append(tag("span", f"{words}{named}", class_=kind))
    rows = [(tag("code", maker.mask(thing.node)), way(thing.recorded), way(thing.other))
            for thing in here.things[:SHOWN]]  # fmt: skip
    return joined([tag("p", *parts, class_="said"),
                   table(("what was used", "its own prompt", "this one"), rows),
                   tag("p", lacking.SHOWN, class_="note")])  # fmt: skip


def way(word: str) -> Markup:
    """Return how a prompt shows a thing, in words."""
    kind = "is-out" if word in ("name", "out") else "is-in"
    return tag("span", WAYS.get(word, word), class_=kind)


def within_part(maker: PanelMaker, trial: RunTrial, version: int) -> Markup:
    """Return what the step shows within the run, which is another question than the step alone."""
    found = next((step for step in trial.steps if step.version == version), None)
    if found is None or not found.figures[1].used:
        return Markup("")
    before, after = found.figures
    said = (f"Within that run, where each prompt follows those that the policy itself would have"
            f" built, this step shows {after.used - len(after.missed)} of {after.used}; its own"
            f" policy, built so, {before.used - len(before.missed)}.")  # fmt: skip
    if after.missed:
        said += f" It misses {', '.join(maker.mask(thing.node) for thing in after.missed[:SHOWN])}."
    return tag("p", said, class_="said")


def run_part(maker: PanelMaker, trial: RunTrial) -> Markup:
    """Return what the other policy does to all prompts of the run, as `regress` tells it."""
    comparison, count = trial.comparison, len(trial.steps)
    before, after = comparison.before, comparison.after
    title = f"Over the run: {count:,} prompts"
    parts: list[object] = []
    if count < trial.prompts:
        title = f"Over the first {count:,} of {trial.prompts:,} prompts"
        parts.append(tag("p", "Time was over: the figures are of these prompts alone; the command"
                         " below takes its time.", class_="bad"))  # fmt: skip
    parts += [_recall(comparison), table(("", RECORDED, maker.mask(comparison.policy)),
                                         _rows(comparison, before, after))]  # fmt: skip
    worse = [
        (maker.link(int(prompt.step.partition(" ")[0])), prompt.step.partition(" ")[2],
         ", ".join([*(f"lost {maker.mask(node)}" for node in prompt.lost[:SHOWN]),
                    *(f"misses {maker.mask(node)}" for _, node in prompt.missed[:SHOWN]
                      if node not in prompt.lost)]))
        for prompt in worst(comparison, SHOWN)
    ]  # fmt: skip
    parts.append(table(("prompt", "step", "shows less of what was used"), worse))
    parts += [tag("p", f"REGRESSION: {rule}", class_="bad") for rule in comparison.broken]
    if not comparison.broken:
        parts.append(tag("p", "No regression by the rules of 'backcast regress'.", class_="said"))
    parts.append(tag("p", NOTE, class_="note"))
    return joined([tag("h3", title), *parts])


def _recall(comparison: Comparison) -> Markup:
    rows = []
    for name, summary in ((RECORDED, comparison.before), (comparison.policy, comparison.after)):
        if not summary.used:
            return tag("p", "Nothing that came of these prompts can be held against them.",
                       class_="note")  # fmt: skip
        missed = summary.used - summary.shown
        kept = [(summary.shown, "kept", f"{summary.shown} shown"),
                (missed, "again", f"{missed} not shown")]  # fmt: skip
        said = f"{summary.recall or 0:.1f} % ({summary.shown} of {summary.used})"
        rows.append((name, bar(kept, summary.used, "recall"), said))
    points = f"{comparison.recall or 0:+.1f} points"
    sure = "one run, so that no interval can be told"
    if comparison.interval:
        low, high = comparison.interval
        sure = f"95 % from {low:+.1f} to {high:+.1f}, {comparison.counted}"
    return joined([table(("", "evidence recall", "share"), rows),
                   tag("p", f"Evidence recall {points} ({sure}).", class_="said")])  # fmt: skip


def _rows(
    comparison: Comparison, before: PolicySummary, after: PolicySummary
) -> Iterator[tuple[object, ...]]:
    yield "the same to the byte", "", str(comparison.same)
    yield "tokens, median", f"{before.tokens:,.0f}", f"{after.tokens:,.0f}"
    if before.prefix is not None and after.prefix is not None:
        yield ("shared with the prompt before", f"{100 * before.prefix:.1f} %",
               f"{100 * after.prefix:.1f} %")  # fmt: skip
    for words, name in (("came in", "came"), ("went out", "went"), ("shown by less", "lowered"),
                        ("CRITICAL, not shown any more", "critical")):  # fmt: skip
        yield words, "", str(getattr(comparison, name))
    yield "stale summaries shown", str(before.stale), str(after.stale)
    yield "what must be shown does not fit", str(before.unfit), str(after.unfit)


def pin_part(maker: PanelMaker, version: int, other: OtherPolicy, here: UsedHere) -> Markup:
    """Return the lines that pin what was found: for a shell, and for pytest."""
    name = other.file_name
    parts: list[object] = [tag("h3", "To pin it")]
    if other.name == EDITED:
        parts += [tag("p", f"{name}, to keep:", class_="note"), _copied(other.text)]
    log, store = maker.log or maker.reader.task, ""
    if maker.store_url and not maker.log:
        store = f" --store {quote(maker.store_url)}"
    lines = (f"backcast diff {quote(f'{log}@{version}')}{store} --policy recorded"
             f" --policy {quote(name)}\n"
             f"backcast regress {quote(log)}{store} --policy {quote(name)}")  # fmt: skip
    parts += [tag("p", "the command lines:", class_="note"), _copied(maker.mask(lines)),
              tag("p", f"the pytest lines, run by 'pytest --backcast-policy {name}':",
                  class_="note"),
              _copied(maker.mask(_test(maker, version, here.pinned[:PINNED])))]  # fmt: skip
    return joined(parts)


def _test(maker: PanelMaker, version: int, nodes: Sequence[str]) -> str:
    """Return a test that holds what the prompt showed of what was used, else that it fits."""
    log = f'"{maker.log or maker.store_url}"'
    if not maker.log:
        log = f'event_log({log}, task="{maker.reader.task}")'
    fixtures = "context_at" if maker.log else "context_at, event_log"
    names = [path_of(node) if node.startswith("module:") else node for node in nodes]
    what = "assert_contains" if names else "assert_within_budget"
    checks = [f'    {what}(context, "{name}")' for name in names] or [f"    {what}(context)"]
    return "\n".join([
        f"from backcast import {what}", "", "",
        f"def test_prompt_{version}({fixtures}):",
        f"    context = context_at({log}, {version})", *checks,
    ])  # fmt: skip


def _copied(text: str) -> Markup:
    return tag("pre", text, class_="text pin")
