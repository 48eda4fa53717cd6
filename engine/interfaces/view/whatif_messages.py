"""What would a history policy have left of an agent's prompt? The parts, the run, the commands."""

from collections.abc import Callable, Iterator
from shlex import quote

from backcast.domain.errors import InputError
from backcast.domain.message_parts import MessagePart, total
from backcast.domain.message_settings import MessageSettings
from backcast.domain.name_list import first_names
from backcast.engine.context.message_policies import MESSAGE_POLICIES
from backcast.engine.interfaces.history_text import broken_rules, changed_parts, rows, told_losses
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.regress_report import NOTE
from backcast.engine.interfaces.view.markup import Markup, folded, joined, long_text, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.replay.history_figures import figures
from backcast.engine.replay.history_prompt import HistoryPrompt, prompt_under
from backcast.engine.replay.history_trial import (
    HistoryPolicy,
    NextUse,
    TriedRun,
    next_use,
    tried,
)
from backcast.engine.replay.what_if import EDITED, RECORDED, OtherPolicy

SHOWN = 200
"Parts of a prompt that get a row each."
NAMED = 8
"Things that are lost and named."


def message_parts(
    maker: PanelMaker, version: int, other: OtherPolicy, is_over: Callable[[], bool]
) -> Iterator[Markup]:
    """Yield what a policy would have shown of a prompt's messages and over its run."""
    require_messages(other)
    reader, counter = maker.reader, message_counter()
    found = prompt_under(
        reader.store, reader.task, str(version), other.policy.messages, counter.count
    )
    yield from message_panel_parts(
        maker, found, other, lambda: run_part(maker, messages_tried(reader, other, is_over), other)
    )


def message_panel_parts(
    maker: PanelMaker, found: HistoryPrompt, other: OtherPolicy, run: Callable[[], Markup]
) -> Iterator[Markup]:
    """Yield what a policy does to one prompt, to the `run`, and what pins it."""
    use = next_use(found.recorded, found.shown, message_counter().count)
    yield prompt_part(maker, found, other)
    yield used_part(maker, use)
    yield run()
    yield pin_part(maker, found, other, use)


def require_messages(other: OtherPolicy) -> None:
    """Raise `InputError` for a policy that shows an agent's messages as they were."""
    if not other.policy.messages.changes:
        raise InputError(
            f"{other.name} shows an agent's messages as they were: needed one of"
            f" {', '.join(MESSAGE_POLICIES)}"
        )


def messages_tried(
    reader: RunReader, other: OtherPolicy, is_over: Callable[[], bool] = lambda: False
) -> TriedRun:
    """Return all prompts of a run as they were, and under a policy; fewer where time is over."""
    count = message_counter().count
    return tried(reader.store, reader.task, policies_tried(other), count, is_over)


def policies_tried(other: OtherPolicy) -> list[HistoryPolicy]:
    """Return the two policies that are held against each other."""
    return [HistoryPolicy(RECORDED, MessageSettings()),
            HistoryPolicy(other.name, other.policy.messages)]  # fmt: skip


def prompt_part(maker: PanelMaker, found: HistoryPrompt, other: OtherPolicy) -> Markup:
    """Return what the policy changes in one prompt."""
    before, after = total(found.recorded.parts), total(found.shown)
    version = found.recorded.version
    number = maker.reader.sequence.at(version).number
    name = maker.mask(other.name)
    lines = [
        (state, _titled(maker, title, part), f"{was:,}" if was else "", f"{now:,}" if now else "")
        for state, title, was, now, part in changed_parts(found)
    ]
    said = f"{before:,} → {after:,} tokens." if lines else f"Nothing changes: {before:,} tokens."
    more, texts = len(lines) - SHOWN, None
    if maker.live:
        words = "\n\n".join(f"[{part.title}]\n{part.text}" for part in found.shown)
        texts = folded("the messages under it", long_text(maker.mask(words)))
    return joined([
        tag("p", maker.link(version, f"step {number}"), f" as it stood, and as {name} shows it."
            " What a model would have answered, nobody can tell.", class_="note"),
        bar([(after, "kept", f"{after:,} tokens are left"),
             (max(before - after, 0), "again", f"{max(before - after, 0):,} tokens went")],
            max(before, after, 1), "bar ruler"),
        tag("p", said, class_="said"),
        table(("", "part", "tokens before", "after"), lines[:SHOWN]),
        tag("p", f"and {more:,} parts more", class_="note") if more > 0 else None, texts,
    ])  # fmt: skip


def _titled(maker: PanelMaker, title: str, part: MessagePart | None) -> object:
    """Return the title of a part, which opens the text that the policy leaves of it."""
    if part is None:
        return maker.mask(title)
    return folded(maker.mask(title), maker.keep(long_text(maker.mask(part.text))))


def used_part(maker: PanelMaker, use: NextUse) -> Markup:
    """Return whether the other prompt still shows what the answer used."""
    whole = use.used + use.last_used
    if not whole:
        said = "The answer named nothing that only these messages told, so nothing could be lost."
        return tag("p", said, class_="note")
    shown = whole - len(use.lost)
    said = f"Of {whole} things of its messages that the answer used next, {shown} are still shown."
    if not use.lost:
        return tag("p", said, class_="said")
    named = first_names((maker.mask(str(thing)) for thing in use.lost), NAMED)
    return tag("p", said, tag("span", f" Lost: {named}", class_="is-out"), class_="said")


def run_part(maker: PanelMaker, run: TriedRun, other: OtherPolicy) -> Markup:
    """Return what the policy does to all prompts of the run, as `regress` tells it."""
    found = figures([run], policies_tried(other))
    head, *body = rows(found)
    lost = maker.mask("\n".join(told_losses([run], 1, other.name)))
    broken = list(broken_rules(found[0], found[1], other.rules))
    verdict = [tag("p", f"REGRESSION: {rule}", class_="bad") for rule in broken]
    if not broken:
        said = "No regression by the rules of 'backcast regress'."
        verdict = [tag("p", said, class_="said")]
    title, over = f"Over the run: {len(run.prompts):,} prompts", None
    if run.cut:
        title = f"Over the first {len(run.prompts):,} prompts"
        over = tag("p", "Time was over: the figures are of these prompts alone; the command"
                   " below takes its time.", class_="bad")  # fmt: skip
    note = f"Tokens are those of {message_counter().id}. {NOTE}"
    return joined([
        tag("h3", title), over,
        table(head, [[maker.mask(cell) for cell in row] for row in body]),
        tag("pre", lost, class_="text"), *verdict, tag("p", note, class_="note"),
    ])  # fmt: skip


def pin_part(maker: PanelMaker, found: HistoryPrompt, other: OtherPolicy, use: NextUse) -> Markup:
    """Return the lines that pin what was found: for a shell, and for pytest."""
    version = found.recorded.version
    name = other.file_name
    parts: list[object] = [tag("h3", "To pin it")]
    if other.name == EDITED:
        parts += [tag("p", f"{name}, to keep:", class_="note"),
                  tag("pre", other.text, class_="text pin")]  # fmt: skip
    log, store = maker.log or maker.reader.task, ""
    if maker.store_url and not maker.log:
        store = f" --store {quote(maker.store_url)}"
    lines = (f"backcast diff {quote(f'{log}@{version}')}{store} --policy {quote(name)}\n"
             f"backcast regress {quote(log)}{store} --policy {quote(name)}")  # fmt: skip
    parts += [tag("p", "the command lines:", class_="note"),
              tag("pre", maker.mask(lines), class_="text pin"),
              tag("p", f"the pytest lines, run by 'pytest --backcast-policy {name}':",
                  class_="note"),
              tag("pre", maker.mask(_test(maker, found, use)), class_="text pin")]  # fmt: skip
    return joined(parts)


def _test(maker: PanelMaker, found: HistoryPrompt, use: NextUse) -> str:
    """Return a test that holds what the answer used; where it used nothing, the tokens."""
    log = f'"{maker.log or maker.store_url}"'
    if not maker.log:
        log = f'event_log({log}, task="{maker.reader.task}")'
    version, fixtures = found.recorded.version, "history_at" + ", event_log" * (not maker.log)
    check = (
        "not prompt.lost" if use.used + use.last_used else f"prompt.tokens <= {total(found.shown)}"
    )
    return "\n".join([
        f"def test_prompt_{version}({fixtures}):",
        f"    prompt = history_at({log}, {version})", f"    assert {check}",
    ])  # fmt: skip
