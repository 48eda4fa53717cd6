"""Fitting as a command runs it: what it will take, how far it has come, and the file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from time import monotonic, process_time
from typing import TYPE_CHECKING, Any

from backcast.domain.errors import InputError
from backcast.engine.interfaces.scoring import SOON, Reading, duration, little_time, threads_each
from backcast.engine.interfaces.terminal import in_a_line, message, progress_bar

if TYPE_CHECKING:
    from backcast.domain.policy import Policy
    from backcast.engine.interfaces.log_shelf import LogShelf
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.replay.fit_cost import FitCost
    from backcast.engine.replay.fit_run import FitResult, PolicyFit
    from backcast.engine.replay.score_summary import ScoreDifference

FORMAT = 1
"Version of the JSON; grows when its readers would have to change."
EARLY = 0.05
"The share of the time after which it is said whether that will do."
LARGEST = 8
"Weights that a file names in its comment."


def check_place(out: Path, force: bool) -> None:
    """Raise `InputError` where a policy file could not be written at the end."""
    if str(out) == "-":
        raise InputError("--out: needed a policy file to write, found - (stdout)")
    if out.is_dir():
        raise InputError(f"{out}: needed a policy file to write, found a folder")
    if not out.parent.is_dir():
        raise InputError(f"{out}: needed a folder for the policy file, found no {out.parent}")
    if out.exists() and not force:
        raise InputError(
            f"{out}: needed a file that is not there yet, found one: name another, or write over it"
            " with --force"
        )
    beside = out.with_name(f".{out.name[:200]}.try")
    try:
        with beside.open("x"):
            pass
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


def planned_fit(
    reading: Reading, logs: "LogShelf", base: "Policy", engine: "WorkEngine | None" = None
) -> "tuple[PolicyFit, FitCost]":
    """Return a fit that can be run, after it is said what that takes; with `engine` its workers
    read."""
    from backcast.engine.replay.fit_cost import ENOUGH, LEAST_SAMPLE
    from backcast.engine.replay.fit_run import PolicyFit
    from backcast.engine.replay.fit_search import ROUNDS, moves
    from backcast.engine.replay.fit_steps import StepList
    from backcast.engine.replay.kept_scores import score_books
    from backcast.engine.replay.read_elsewhere import ElsewhereReader
    from backcast.engine.replay.readers import sent

    if reading.sample is not None and reading.sample < LEAST_SAMPLE:
        raise InputError(
            f"--sample: needed {LEAST_SAMPLE} or more, for {ENOUGH} steps to fit on and {ENOUGH} of"
            f" the third that is held out, found {reading.sample}"
        )
    reader = reading.reader()
    known = StepList(reading.plan(reader, []))
    reading.take(known, logs)
    books = score_books(logs.logs, reading.scores)
    if engine is None:
        fit = PolicyFit(known, base, books, reading.seconds)
    else:
        needed = sent(reader, reading.context_tokens, reading.threads or threads_each(engine))
        ahead = ElsewhereReader(engine, needed, books).read
        fit = PolicyFit(known, base, books, reading.seconds, ahead)
    with progress_bar("prompts", len(known.training)) as advance:
        cost = fit.plan(advance)
    likely = base if base.pattern else base.model_copy(update={"pattern": 1.0})
    most = ROUNDS * len(list(moves(likely, base, base.likeness)))
    message(
        f"{len(known.training)} steps to fit on and {len(known.held_out)} held out; texts alone:"
        f" {cost.items:,} prompts that were never read, {cost.item_tokens:,} tokens; whole:"
        f" {cost.whole:,}, {cost.whole_tokens:,} tokens, {cost.trial_tokens:,} more for each"
        f" setting that is tried, {most} of them at most, and {cost.judged_tokens:,} to judge"
    )
    return fit, cost


def run_fit(fit: "PolicyFit", cost: "FitCost") -> "FitResult":
    """Run a fit, show how far it has come, and soon say how long it takes.

    `InputError` where too few steps are read within the time.
    """
    from backcast.engine.replay.fit_run import TimeIsUpError

    forecast, unkept = FitForecast(fit, cost), list[str]()
    ends = None if fit.seconds is None else monotonic() + fit.seconds
    with progress_bar("tokens", None, ends=ends) as bar:

        def advance(size: int) -> None:
            bar(size)
            forecast.add(size)
            for reason in {book.unkept: 0 for book in fit.books.values() if book.unkept}:
                if reason not in unkept:
                    unkept.append(reason)
                    message(f"note: the scores are used, and not kept: {reason}")

        try:
            found = fit.run(advance, message)
        except TimeIsUpError as error:
            raise InputError(f"{error}{forecast.next()}") from None
    if found.late:
        found = found._replace(
            refusal=f"{found.refusal}; what was read is kept, and the same command goes on from"
            f" there{forecast.next()}"
        )
    return found


class FitForecast:
    """How long a fit takes, as far as what was read tells."""

    def __init__(self, fit: "PolicyFit", cost: "FitCost") -> None:
        self.fit, self.cost = fit, cost
        self.read, self.begun, self.busy, self._said = 0, monotonic(), process_time(), False

    def add(self, size: int) -> None:
        """Count tokens that were read; once some time has passed, say how long the rest takes."""
        self.read += size
        first = self.cost.item_tokens + self.cost.whole_tokens
        spent = monotonic() - self.begun
        soon = spent < min(SOON, EARLY * (self.fit.seconds or math.inf))
        if self._said or not self.read or (soon and self.read < first / 10):
            return
        self._said = True
        token, cost = self._token(), self.cost
        at = f"at {1 / token:,.0f} tokens a second{little_time(spent, process_time() - self.busy)}"
        message(
            f"about {duration(first * token)} for all texts and prompts as they are,"
            f" {duration(cost.trial_tokens * token)} for each setting that is tried, {at}, and"
            f" {duration(2 * cost.judged_tokens * token)} to judge"
            + (
                "; of texts and steps as many are taken as --seconds allows"
                * bool(self.fit.seconds)
            )
        )
        least = cost.seconds(token)
        if self.fit.seconds and least > self.fit.seconds:
            message(
                f"note: --seconds {self.fit.seconds:g} may be too few to try one setting and judge"
                f" it: about {ceil(least):,} are needed; what is read is kept for the next call"
            )

    def next(self) -> str:
        """Return which time the next call may need, where the pace is known."""
        if not self.read:
            return ""
        least = self.fit.cost().seconds(self._token())
        return f" (--seconds {max(1, ceil(least)):,} or so to try one setting and judge it)"

    def _token(self) -> float:
        return max(monotonic() - self.begun, 1e-3) / max(1, self.read)


def interval(beside: "ScoreDifference", step: bool = True) -> str:
    """Return a difference in nats per token, with its interval."""
    value = beside.per_step if step else beside.per_token
    bounds = beside.step_interval if step else beside.interval
    sure = "" if bounds is None else " (95 % {:+.3f} to {:+.3f})".format(*bounds)
    return f"{value:+.3f}{sure}"


def file_lines(
    fit: "PolicyFit", found: "FitResult", policy: "Policy", over: str, logs: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of a policy file: how it came about as comments, then its settings."""
    from backcast.engine.context import builder
    from backcast.engine.context.strategies import STRATEGIES
    from backcast.engine.interfaces.commands.policy import toml_lines
    from backcast.engine.interfaces.installed import VERSION
    from backcast.engine.replay.fit_file import own_settings

    reader, [before, after] = fit.known.reader, found.scores
    assert after.beside is not None, "a policy without figures is not written"
    comments = [
        "A policy that 'backcast fit' fitted to a reader: settings that its base has not.",
        "Judge it by another log, or by the steps that were held out of these.",
        f"reader: {reader.model}, template {reader.template}, {reader.reader}",
        f"versions: backcast {VERSION}, builder {builder.VERSION}",
        f"logs: {', '.join(logs)}",
        f"base: {fit.base.name} (digest {fit.base.digest[:16]}), over {over}; this one has"
        f" digest {policy.digest}",
        f"prompts: {fit.known.profile.context:,} tokens of context",
        f"steps: {found.training} to fit on, {found.judged} held out",
    ]
    if found.likeness:
        fitted = found.likeness
        comments.append(
            f"likeness: {fitted.items} texts of {fitted.steps} steps, ridge {fitted.ridge:g}, mean"
            f" squared error {fitted.error:.4f} by cross-validation, {fitted.before:.4f} before,"
            f" {fitted.constant:.4f} by one share for all"
        )
    comments += [
        f"training: {found.search.begun:.3f} -> {found.search.mean:.3f} nats per token of new"
        f" lines; kept: {', '.join(trial.name for trial in found.search.trials if trial.kept)}",
        f"held out: {before.new.per_step:.3f} -> {after.new.per_step:.3f},"
        f" {interval(after.beside)}; over all tokens {interval(after.beside, step=False)};"
        f" likelier on {after.beside.better}, less likely on {after.beside.worse} of"
        f" {after.beside.steps}",
    ]
    yield from (f"# {in_a_line(comment)}" for comment in comments)
    yield ""
    yield from toml_lines({"base": over} | own_settings(policy, STRATEGIES[over]))


def rows(found: "FitResult") -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of what was tried on the training steps."""
    yield "tried on the training steps", "nats per token", "kept"
    yield "as it was", f"{found.search.begun:.3f}", ""
    for trial in found.search.trials:
        mean = "not on all steps" if trial.mean is None else f"{trial.mean:.3f}"
        yield trial.name, mean, "yes" if trial.kept else "no"


def remarks(fit: "PolicyFit", found: "FitResult | None") -> Iterator[str]:
    """Yield a line for each thing that was left out."""
    known = fit.known
    for out in known.left_out[:5]:
        yield f"left out: {out.step}: {out.reason}"
    if len(known.left_out) > 5:
        yield f"left out: {len(known.left_out) - 5} more steps ('--json' names them all)"
    if known.unknown:
        yield f"note: of {known.unknown} prompts no outcome is known"
    if known.nothing_new:
        yield f"note: of {known.nothing_new} steps the outcome has no new line"
    if known.not_sampled:
        yield f"note: the sample leaves out {known.not_sampled} steps"
    if found is None:
        return
    from backcast.engine.interfaces.score_verdict import without_one

    if found.training < len(known.training):
        yield f"note: {len(known.training) - found.training} training steps were not reached"
    alone = found.likeness.steps if found.likeness else 0
    if alone < len(fit.items):
        yield f"note: of {len(fit.items)} steps with texts to show alone {alone} were read"
    begun = found.search.begun
    lower = [one for one in found.search.trials if one.mean is not None and one.mean < begun]
    if any(not trial.kept for trial in lower):
        from backcast.engine.replay.fit_search import LEAST

        yield f"note: what falls by less than {LEAST:.1%} is not kept: it may be noise"
    if found.search.untried:
        yield f"note: there was no time to try {', '.join(found.search.untried)}"
    beside = found.scores[1].beside if found.scores else None
    if not found.refusal and beside and beside.step_interval and not beside.step_side:
        why = "the interval holds 0"
        if beside.step_interval[1] < 0:
            why = f"it is ahead {without_one(beside, step=True)}"
        yield f"note: {why}: what was learned may be chance, so try more steps"
    if found.scores and found.judged < len(known.held_out):
        yield f"note: {len(known.held_out) - found.judged} steps held out were not reached"
    for book in dict.fromkeys(fit.books.values()):
        yield from (f"note: skipped {line}" for line in book.notes)


def fit_json(
    fit: "PolicyFit", found: "FitResult", settings: Mapping[str, Any], written: Path | None
) -> dict[str, Any]:
    """Return the whole result as JSON."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.score_report import note

    reader = fit.known.reader
    return {
        "format": FORMAT,
        "note": note(reader),
        "reader": {
            "model": reader.model, "template": reader.template, "reader": reader.reader,
            "window": reader.window,
        },
        "base": {"name": fit.base.name, "digest": fit.base.digest},
        "likeness": None if found.likeness is None else plain(found.likeness),
        "search": {
            "begun": found.search.begun, "mean": found.search.mean,
            "trials": [plain(trial) for trial in found.search.trials],
            "untried": list(found.search.untried),
        },
        "training": found.training,
        "held_out": found.judged,
        "scores": [plain(score) for score in found.scores],
        "settings": settings,
        "refusal": found.refusal or None,
        "written": None if written is None else str(written),
        "left_out": [plain(out) for out in fit.known.left_out],
        "outcome_unknown": fit.known.unknown,
        "nothing_new": fit.known.nothing_new,
        "not_sampled": fit.known.not_sampled,
    }  # fmt: skip
