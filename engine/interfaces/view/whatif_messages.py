"""What would a history policy have left of an agent's prompt? The parts, the run, the commands."""

from collections.abc import Iterator
from shlex import quote

from backcast.domain.errors import InputError
from backcast.domain.message_parts import total
from backcast.domain.message_settings import MessageSettings
from backcast.engine.context.message_policies import MESSAGE_POLICIES
from backcast.engine.interfaces.history_text import broken_rules, changed_parts, rows, told_losses
from backcast.engine.interfaces.profiles import DEFAULT_PROFILE, profile_by
from backcast.engine.interfaces.regress_report import NOTE
from backcast.engine.interfaces.view.markup import Markup, folded, joined, long_text, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar
from backcast.engine.models.tokenizers import Tokenizer, tokenizer_of
from backcast.engine.replay.history_figures import figures
from backcast.engine.replay.history_prompt import HistoryPrompt, prompt_under
from backcast.engine.replay.history_trial import HistoryPolicy, tried
from backcast.engine.replay.what_if import EDITED, RECORDED, OtherPolicy

SHOWN = 200
"Parts of a prompt that get a row each."


def message_parts(maker: PanelMaker, version: int, other: OtherPolicy) -> Iterator[Markup]:
    """Yield what a policy would have shown of a prompt's messages and over its run."""
    if not other.policy.messages.changes:
        raise InputError(
            f"{other.name} shows an agent's messages as they were: needed one of"
            f" {', '.join(MESSAGE_POLICIES)}"
        )
    reader = maker.reader
    counter = tokenizer_of(profile_by(DEFAULT_PROFILE, None, None).tokenizer)
    found = prompt_under(
        reader.store, reader.task, str(version), other.policy.messages, counter.count
    )
    yield prompt_part(maker, found, other)
    yield run_part(maker, other, counter)
    yield pin_part(maker, version, other)


def prompt_part(maker: PanelMaker, found: HistoryPrompt, other: OtherPolicy) -> Markup:
    """Return what the policy changes in one prompt."""
    before, after = total(found.recorded.parts), total(found.shown)
    version = found.recorded.version
    number = maker.reader.sequence.at(version).number
    name = maker.mask(other.name)
    lines = [
        (state, maker.mask(title), f"{was:,}" if was else "", f"{now:,}" if now else "")
        for state, title, was, now in changed_parts(found)
    ]
    said = f"{before:,} → {after:,} tokens." if lines else f"Nothing changes: {before:,} tokens."
    texts = "\n\n".join(f"[{part.title}]\n{part.text}" for part in found.shown)
    more = len(lines) - SHOWN
    return joined([
        tag("p", maker.link(version, f"step {number}"), f" as it was sent, and as {name} shows it."
            " What a model would have answered, nobody can tell.", class_="note"),
        bar([(after, "kept", f"{after:,} tokens are left"),
             (max(before - after, 0), "again", f"{max(before - after, 0):,} tokens went")],
            max(before, after, 1), "bar ruler"),
        tag("p", said, class_="said"),
        table(("", "part", "tokens before", "after"), lines[:SHOWN]),
        tag("p", f"and {more:,} parts more", class_="note") if more > 0 else None,
        folded("the messages under it", long_text(maker.mask(texts))),
    ])  # fmt: skip


def run_part(maker: PanelMaker, other: OtherPolicy, counter: Tokenizer) -> Markup:
    """Return what the policy does to all prompts of the run, as `regress` tells it."""
    policies = [HistoryPolicy(RECORDED, MessageSettings()),
                HistoryPolicy(other.name, other.policy.messages)]  # fmt: skip
    run = tried(maker.reader.store, maker.reader.task, policies, counter.count)
    found = figures([run], policies)
    head, *body = rows(found)
    lost = maker.mask("\n".join(told_losses([run], 1, other.name)))
    broken = list(broken_rules(found[0], found[1], other.rules))
    verdict = [tag("p", f"REGRESSION: {rule}", class_="bad") for rule in broken]
    if not broken:
        said = "No regression by the rules of 'backcast regress'."
        verdict = [tag("p", said, class_="said")]
    note = f"Tokens are those of {counter.id}. {NOTE}"
    return joined([
        tag("h3", f"Over the run: {len(run.prompts):,} prompts"),
        table(head, [[maker.mask(cell) for cell in row] for row in body]),
        tag("pre", lost, class_="text"), *verdict, tag("p", note, class_="note"),
    ])  # fmt: skip


def pin_part(maker: PanelMaker, version: int, other: OtherPolicy) -> Markup:
    """Return the command lines that tell the same."""
    name = f"{other.name}.toml" if other.name == EDITED else other.name
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
              tag("pre", maker.mask(lines), class_="text pin")]  # fmt: skip
    return joined(parts)
