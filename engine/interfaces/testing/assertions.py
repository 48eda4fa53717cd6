"""Assertions about prompts for tests; a failure shows what differs, section by section.

    assert_contains(step, "function:money.py::share", level="signature")
    assert_within_budget(step)
    assert_prefix_shared(step, at_least=0.8)
    assert_no_stale(step)
    assert_same_context(step, "golden/till-25.txt")
    assert_as_likely(replay("logs/till.jsonl"))

A step comes from the fixtures `replay` and `recorded_step`. Most assertions also take a context, as
`context_at` returns it.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from backcast.domain.context import LEVELS, Context, Item
from backcast.domain.errors import BudgetExceededError, DamagedError, InputError
from backcast.domain.node import KINDS, kind_of, path_of
from backcast.engine.context.builder import count
from backcast.engine.context.prefix import compared
from backcast.engine.context.rendering import file_of
from backcast.engine.interfaces.diff_text import diff_text
from backcast.engine.interfaces.testing import golden as files
from backcast.engine.interfaces.testing.plugin import RUNS
from backcast.engine.interfaces.testing.replayed import Replayed
from backcast.engine.interfaces.views import one_line
from backcast.engine.models.tokenizers import Tokenizer, UpperBound
from backcast.engine.replay.diff import ComparablePrompt, built, diff
from backcast.engine.replay.regress import less_likely, rules_of
from backcast.engine.replay.stale_items import stale_items

NEAREST = 3
CHANGES = 15
"Changes that a failure lists one by one."
WIDTH = 400
"Characters of a line of a failure."


def assert_contains(shown: Context | Replayed, node: str, level: str | None = None) -> None:
    """Assert that a node is shown, at `level` or more: name, signature, summary, part, full.

    A bare path such as `money.py` means the module or anything in it, and `money.py::share` any
    kind of node with that name. What stands in the text of a module or class that is shown whole is
    shown, too.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     context = store.task("till").at(100).build("module:money.py")
    >>> backcast.assert_contains(context, "money.py", level="full")
    """
    __tracebackhide__ = True
    if level is not None and level not in LEVELS:
        raise InputError(f"needed a level of {', '.join(reversed(LEVELS))}, found {level!r}")
    context = _context(shown)
    levels = [item.level for item in context.items if _matches(item, node)]
    levels += ["full" for item in context.items if _holds(item, node)]
    wanted = LEVELS[: LEVELS.index(level or "name") + 1]
    if not any(shown_level in wanted for shown_level in levels):
        _fail(shown, _absent(context, node, level, levels), _since_recorded(shown))


def assert_within_budget(shown: Context | Replayed) -> None:
    """Assert that the prompt leaves room for the answer; recount its tokens where possible.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     backcast.assert_within_budget(store.task("till").at(100).build("module:money.py"))
    """
    __tracebackhide__ = True
    if isinstance(shown, Replayed) and isinstance(shown.outcome, BudgetExceededError):
        _fail(shown, [str(shown.outcome)])
    context, room = _context(shown), _context(shown).window - _context(shown).reserve
    tokens = context.tokens
    if isinstance(shown, Replayed) and shown.builder:
        tokens = max(tokens, count(shown.prompt.pieces, shown.builder.counting.tokenizer))
    if tokens > room:
        kept = f"{context.window:,} less {context.reserve:,} kept for the answer"
        lines = [f"needed {room:,} tokens or fewer ({kept}), found {tokens:,}"]
        used = ((name, budget, used) for name, budget, used in context.sections if used)
        lines += [f"  {name}: {tokens:,} of {budget:,}" for name, budget, tokens in used]
        _fail(shown, lines, _since_recorded(shown))


def assert_prefix_shared(
    shown: Context | Replayed, previous: Context | Replayed | None = None, at_least: float = 0.8
) -> None:
    """Assert that the prompt shares a prefix of `at_least` its tokens, from 0 to 1, with another.

    Without `previous` that is the prompt asked before it in its task; of a task's first prompt,
    which has none before it, nothing is asked. Two bare contexts, whose tokenizer is unknown, are
    compared by bytes.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     first, second, *_ = store.task("till").replay()
    ...     backcast.assert_prefix_shared(second, first, at_least=0.1)
    """
    __tracebackhide__ = True
    if not 0 <= at_least <= 1:
        raise InputError(f"needed a share from 0 to 1, found {at_least}")
    before = shown.previous if previous is None and isinstance(shown, Replayed) else previous
    if before is None:
        if isinstance(shown, Replayed):
            return
        _fail(shown, ["needed a prompt to compare it with, found none"])
    tokenizer = _tokenizer(shown, before)
    last, now = _prompt(before, shown), _prompt(shown, before)
    prefix = compared(last.pieces, now.pieces, tokenizer)
    if prefix.tokens < at_least * prefix.of:
        unit = "tokens" if tokenizer.exact else "bytes"
        where = f"; they part in {prefix.section}" if prefix.section else ""
        shared = f"needed {at_least:.0%} of it to be as in {last.name}, found {prefix.tokens:,}"
        shared += f" of {prefix.of:,} {unit} ({prefix.tokens / prefix.of:.0%}){where}"
        _fail(shown, [shared], diff_text(diff(last, now, tokenizer), CHANGES))


def assert_no_stale(step: Replayed) -> None:
    """Assert that no item shows a written summary that no longer held at the prompt's moment.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/validators.jsonl") as store:
    ...     backcast.assert_no_stale(next(store.task("validators").replay()))
    """
    __tracebackhide__ = True
    if found := stale_items(_step(step).context.items, step.step.known.states):
        lines = ["needed no summary that no longer holds, found", *map(str, found)]
        _fail(step, lines, _since_recorded(step))


def assert_same_context(shown: Context | Replayed, golden: str | Path | None = None) -> None:
    """Assert that the prompt equals a golden file, which `pytest --backcast-update` writes.

    Without a file compare with the recorded prompt. Paths are relative to pytest's configuration
    file, or to its rootdir where there is none.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/validators.jsonl") as store:
    ...     backcast.assert_same_context(next(store.task("validators").replay()))  # as recorded
    """
    __tracebackhide__ = True
    if golden is None:
        _assert_as_recorded(shown)
        return
    path, now = RUNS[-1].base / golden, files.golden_text(_context(shown))
    if RUNS[-1].update:
        files.write_golden(path, now)
        return
    before = files.read_golden(path)
    if before is None:
        _fail(shown, [f"no file {golden} yet: 'pytest --backcast-update' writes it"])
    if before != now:
        _fail(shown, [f"not as in {golden}"], files.golden_diff(before, now))


def assert_as_likely(shown: Replayed | Iterable[Replayed], nats: float | None = None) -> None:
    """Assert that a model holds what was written for as likely as under the recorded prompts.

    The model is that of `pytest --backcast-model`; without it the test is skipped. The outcomes may
    get less likely by `nats` per token of their new lines, all prompts together: by as much as the
    policy's file says under [regress] where nothing is given.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/validators.jsonl") as store:
    ...     backcast.assert_as_likely(store.task("validators").replay())  # doctest: +SKIP
    """
    __tracebackhide__ = True
    from backcast.engine.interfaces.testing.likely import likely_outcomes

    limits = () if nats is None else (f"nats={nats}",)
    rules = rules_of(RUNS[-1].policy, limits)
    found = likely_outcomes([shown] if isinstance(shown, Replayed) else shown)
    for line in less_likely(found.beside, rules):
        name = str(shown) if isinstance(shown, Replayed) else f"{len(found.steps)} prompts"
        _raise(name, [line, *found.worst(NEAREST)])


def _assert_as_recorded(shown: Context | Replayed) -> None:
    __tracebackhide__ = True
    step = _step(shown)
    if step.fact.masked:
        _fail(step, [f"{step.fact.masked} of its recorded texts were masked"])
    if step.context.digest != step.fact.digest:
        _fail(step, ["needed the recorded prompt, found another one"], _since_recorded(step))


def _fail(shown: Context | Replayed, message: list[str], changed: str = "") -> NoReturn:
    """Raise `AssertionError` with the message, and the changes below it."""
    __tracebackhide__ = True
    name = str(shown) if isinstance(shown, Replayed) else "the context"
    _raise(name, [*message, *filter(None, changed.split("\n"))])


def _raise(name: str, message: list[str]) -> NoReturn:
    __tracebackhide__ = True
    lines = [f"{name}: {message[0]}", *message[1:]]
    raise AssertionError("\n".join(one_line(line, WIDTH) for line in lines))


def _since_recorded(shown: Context | Replayed) -> str:
    """Return the changes since a prompt was recorded; empty for none or where unknown."""
    if not isinstance(shown, Replayed) or shown.as_recorded or shown.fact.masked:
        return ""
    try:
        return diff_text(diff(shown.recorded, shown.prompt, _tokenizer(shown)), CHANGES)
    except (DamagedError, InputError, ValueError) as error:
        return f"what was recorded cannot be read: {error}"


def _absent(context: Context, node: str, level: str | None, levels: list[str]) -> list[str]:
    """Return lines on why a node is not shown, and on items with similar names."""
    if levels:
        return [f"needed {node} by its {level} or more, found its {levels[0]}"]
    lines = [f"needed {node}, which is not shown"]
    omissions = context.omissions
    out = [f"out: {one.reason}" for one in omissions if one.node == node][:1]
    # The builder names its first omissions; entries without a section count the others.
    more = [f"{one.node} are out: {one.reason}" for one in omissions if not one.section]
    named = [one for one in omissions if one.section and one.node != node]
    known = {one.node: f"{one.node} (out: {one.reason})" for one in named}
    known |= {item.node: f"{item.node} ({item.level})" for item in context.items}
    near = get_close_matches(node, known, NEAREST, 0.5)
    nearest = [f"nearest: {', '.join(known[other] for other in near)}"] if near else []
    return [*lines, *(out or more), *nearest]


def _matches(item: Item, node: str) -> bool:
    """Whether an item matches a node, or a bare path."""
    if item.node == node or kind_of(node) in KINDS or not file_of(item.node):
        return item.node == node
    return node in (path_of(item.node), item.node.partition(":")[2])


def _holds(item: Item, node: str) -> bool:
    """Whether the whole text of an item has the definition of a node of its module."""
    kind = kind_of(node)
    path, _, name = node[len(kind) + 1 if kind in KINDS else 0 :].partition("::")
    if not name or item.level != "full" or path != path_of(item.node):
        return False
    outer = item.node.partition("::")[2]
    if outer and not name.startswith(f"{outer}."):
        return False
    last = re.escape(name.rpartition(".")[2])
    return bool(re.search(rf"^\s*(?:async\s+def|def|class)\s+{last}\b", item.text, re.MULTILINE))


def _context(shown: Context | Replayed) -> Context:
    __tracebackhide__ = True
    return shown.context if isinstance(shown, Replayed) else shown


def _step(shown: Context | Replayed) -> Replayed:
    __tracebackhide__ = True
    if isinstance(shown, Replayed):
        return shown
    raise InputError("needed a step of 'replay', which knows its past, found a context alone")


def _tokenizer(*shown: Context | Replayed) -> Tokenizer:
    """Return the tokenizer of the first prompt that has one; else count bytes."""
    counters = (prompt.builder.counting.tokenizer for prompt in shown
                if isinstance(prompt, Replayed) and prompt.builder)  # fmt: skip
    return next(counters, UpperBound())


def _prompt(shown: Context | Replayed, beside: Context | Replayed) -> ComparablePrompt:
    """Return a prompt ready for comparison; a bare context takes the other's chat template."""
    if isinstance(shown, Replayed):
        return shown.prompt
    builder = beside.builder if isinstance(beside, Replayed) else None
    return built("the context", shown, builder.profile.template if builder else "chatml")
