"""The accepted code, each line tinted by how much a model was surprised that read it."""

from collections.abc import Sequence
from hashlib import sha256
from math import log

from backcast.domain.errors import BackcastError
from backcast.domain.score_events import Scored
from backcast.engine.interfaces.view.markup import Markup, folded, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.replay.find import step_at
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of

STEPS = (0.5, 1.0, 2.0, 4.0)
"Bits per token at which a line gets the next tint."
LEAST = 0.05
"Bits per token that a line must change by without an item to be tinted."
PROMPTS = 3
"Prompts, of several policies or models, under which the code is shown."
SHOWN = 12
"Items without which a prompt was read that are shown, the ones that helped most first."


def tinted(maker: PanelMaker, version: int) -> Markup | None:
    """Return the code that came of a prompt, or of a commit, tinted; None where no model read it.

    A commit's is that of the function which its change stands for.
    """
    known = [fact for fact in scores(maker) if fact.step == version]
    if not known:
        return None
    reader = maker.reader
    try:
        step = reader.step(version) or step_at(reader.store, reader.task, str(version))
        outcome = outcome_of(step, reader.store.get)
    except BackcastError:
        return None
    if outcome is None:
        return None
    digest = sha256(outcome.text.encode(errors="surrogatepass")).hexdigest()
    count = outcome.text.count("\n") + 1
    known = [one for one in known if one.outcome == digest and len(one.line_nats) == count]
    wholes = {(one.model, one.prompt): one for one in known if one.without is None}
    lines = maker.mask(outcome.text).split("\n")
    if not wholes or len(lines) != count:
        return None
    parts: list[object] = []
    for (model, prompt), whole in list(wholes.items())[:PROMPTS]:
        less = [one for one in known if one.model == model and one.whole == prompt and one.without]
        parts += _read(maker, whole, less, lines, outcome)
    title = "The accepted code, as a model was surprised by it"
    return folded(title, *parts, class_="tinted")


def scores(maker: PanelMaker) -> Sequence[Scored]:
    """Return the scores of the whole store, and of the file beside a log."""
    reader = maker.reader
    try:
        return reader.held(
            ("scores", reader.store.version(reader.task)),
            lambda: tuple(ScoreBook.beside(reader.store, maker.log).known.values()),
        )
    except BackcastError:
        return ()


def _read(
    maker: PanelMaker, whole: Scored, less: Sequence[Scored], lines: Sequence[str],
    outcome: KnownOutcome,
) -> list[object]:  # fmt: skip
    bits = [_bits(n, tokens) for n, tokens in zip(whole.line_nats, whole.line_tokens, strict=True)]
    new = [at for at, is_new in enumerate(outcome.new) if is_new]
    tokens = sum(whole.line_tokens[at] for at in new)
    mean = _bits(sum(whole.line_nats[at] for at in new), tokens)
    model = maker.mask((whole.model or "a model").partition(" ")[0].rpartition("/")[2])
    said = (
        f"Read by {model} under the prompt of {whole.policy}: {mean:.2f} bits per token of its"
        f" {len(new)} new lines. Darker lines surprised it more."
    )
    body = [
        _line(text, bits[at], f"{bits[at]:.2f} bits per token, {whole.line_tokens[at]} tokens"
              + ("" if outcome.new[at] else "; not new"), _tint(bits[at]))
        for at, text in enumerate(lines)
    ]  # fmt: skip
    parts: list[object] = [tag("p", said, class_="note"), tag("pre", *body, class_="text bits")]
    ordered = sorted(less, key=lambda fact: _gain(whole, fact, new), reverse=True)
    parts += [_without(maker, whole, one, lines, new, tokens) for one in ordered[:SHOWN]]
    if len(less) > SHOWN:
        parts.append(tag("p", f"and {len(less) - SHOWN} more: 'backcast influence'", class_="note"))
    return parts


def _gain(whole: Scored, less: Scored, new: Sequence[int]) -> float:
    return sum(less.line_nats[at] - whole.line_nats[at] for at in new)


def _without(
    maker: PanelMaker, whole: Scored, less: Scored, lines: Sequence[str], new: Sequence[int],
    tokens: int,
) -> Markup:  # fmt: skip
    more = [
        _bits(after - before, count)
        for before, after, count in zip(
            whole.line_nats, less.line_nats, whole.line_tokens, strict=True
        )
    ]
    gain = _bits(_gain(whole, less, new), tokens)
    body = [
        _line(text, more[at], f"{more[at]:+.2f} bits per token without it",
              _tint(more[at]) if more[at] > LEAST else "less" if more[at] < -LEAST else "")
        for at, text in enumerate(lines)
    ]  # fmt: skip
    name = tag("code", maker.mask(less.without or ""))
    words = "more surprised" if gain >= 0 else "less surprised"
    title = joined(["without ", name, f": {abs(gain):.2f} bits per token {words}"])
    return folded(title, tag("pre", *body, class_="text bits"))


def _line(text: str, bits: float, title: str, kind: str) -> Markup:
    """Return a line with its number in front, for those who cannot tell tints apart."""
    shown = f"{bits:.1f}" if text.strip() else ""
    return tag("span", f"{text}\n", class_=kind or None, title=title, data_b=shown)


def _bits(nats: float, tokens: int) -> float:
    return nats / log(2) / max(1, tokens)


def _tint(bits: float) -> str:
    return f"b{sum(bits >= step for step in STEPS)}"
