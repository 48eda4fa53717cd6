"""What tests say of prompts: each fails with what differs, section by section.

    assert_contains(step, "function:money.py::share", level="signature")
    assert_within_budget(step)
    assert_prefix_shared(step, at_least=0.8)
    assert_no_stale(step)
    assert_same_context(step, "golden/till-25.txt")

A step is what the fixtures `replay` and `recorded_step` give; where a context is enough, as
`context_at` gives it, it can be asked too.
"""

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
from backcast.engine.replay.stale_items import stale_items

NEAREST = 3
CHANGES = 15
"Changes that a failure tells one by one."
WIDTH = 400
"Characters of one of its lines."


def assert_contains(shown: Context | Replayed, node: str, level: str | None = None) -> None:
    """A node is shown, at a level of detail or a higher one: name, signature, summary, full.

    A bare path such as `money.py` stands for the module or anything in it, `money.py::share` for
    what has that name there, of whatever kind.
    """
    __tracebackhide__ = True
    if level is not None and level not in LEVELS:
        raise InputError(f"needed a level of {', '.join(reversed(LEVELS))}, found {level!r}")
    context = _context(shown)
    found = [item.level for item in context.items if _is(item, node)]
    wanted = LEVELS[: LEVELS.index(level or "name") + 1]
    if not any(one in wanted for one in found):
        _fail(shown, _absent(context, node, level, found), _since_recorded(shown))


def assert_within_budget(shown: Context | Replayed) -> None:
    """The prompt leaves the window room for the answer, counted once more where it can be."""
    __tracebackhide__ = True
    if isinstance(shown, Replayed) and isinstance(shown.outcome, BudgetExceededError):
        _fail(shown, [str(shown.outcome)])
    context, room = _context(shown), _context(shown).window - _context(shown).reserve
    tokens = context.tokens
    if isinstance(shown, Replayed) and shown.builder:
        tokens = max(tokens, count(shown.prompt.pieces, shown.builder.counting.tokenizer))
    if tokens > room:
        kept = f"{context.window:,} less {context.reserve:,} kept for the answer"
        told = [f"needed {room:,} tokens or fewer ({kept}), found {tokens:,}"]
        used = ((name, budget, used) for name, budget, used in context.sections if used)
        told += [f"  {name}: {tokens:,} of {budget:,}" for name, budget, tokens in used]
        _fail(shown, told, _since_recorded(shown))


def assert_prefix_shared(
    shown: Context | Replayed, previous: Context | Replayed | None = None, at_least: float = 0.8
) -> None:
    """The prompt begins as another one did, for a share of its tokens: 0.8 is four fifths of them.

    Without another one it is that which was asked before it in its task. Two contexts, of which
    nobody knows what counted them, are compared by bytes.
    """
    __tracebackhide__ = True
    if not 0 <= at_least <= 1:
        raise InputError(f"needed a share from 0 to 1, found {at_least}")
    before = shown.previous if previous is None and isinstance(shown, Replayed) else previous
    if before is None:
        _fail(shown, ["needed a prompt before it, found none"])
    tokenizer = _tokenizer(shown, before)
    last, now = _prompt(before, shown), _prompt(shown, before)
    prefix = compared(last.pieces, now.pieces, tokenizer)
    if prefix.tokens < at_least * prefix.of:
        unit = "tokens" if tokenizer.exact else "bytes"
        where = f"; they part in {prefix.section}" if prefix.section else ""
        told = f"needed {at_least:.0%} of it to be as in {last.name}, found {prefix.tokens:,}"
        told += f" of {prefix.of:,} {unit} ({prefix.tokens / prefix.of:.0%}){where}"
        _fail(shown, [told], diff_text(diff(last, now, tokenizer), CHANGES))


def assert_no_stale(step: Replayed) -> None:
    """No item shows a written summary that no longer held when the prompt was asked for."""
    __tracebackhide__ = True
    if found := stale_items(_step(step).context.items, step.step.known.states):
        told = ["needed no summary that no longer holds, found", *map(str, found)]
        _fail(step, told, _since_recorded(step))


def assert_same_context(shown: Context | Replayed, golden: str | Path | None = None) -> None:
    """The prompt is the one of a golden file, which `pytest --backcast-update` writes.

    Without a file it is the one that was recorded. Paths are relative to pytest's own
    configuration file, or to its rootdir where there is none.
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


def _assert_as_recorded(shown: Context | Replayed) -> None:
    __tracebackhide__ = True
    step = _step(shown)
    if step.fact.masked:
        _fail(step, [f"{step.fact.masked} of its recorded texts were masked"])
    if step.context.digest != step.fact.digest:
        _fail(step, ["needed the recorded prompt, found another one"], _since_recorded(step))


def _fail(shown: Context | Replayed, told: list[str], changed: str = "") -> NoReturn:
    """Raise what was needed and found, and below it what has changed."""
    __tracebackhide__ = True
    name = shown if isinstance(shown, Replayed) else "the context"
    lines = [f"{name}: {told[0]}", *told[1:], *filter(None, changed.split("\n"))]
    raise AssertionError("\n".join(one_line(line, WIDTH) for line in lines))


def _since_recorded(shown: Context | Replayed) -> str:
    """What has changed since a prompt was recorded; empty where nothing has, or nobody knows."""
    if not isinstance(shown, Replayed) or shown.as_recorded or shown.fact.masked:
        return ""
    try:
        return diff_text(diff(shown.recorded, shown.prompt, _tokenizer(shown)), CHANGES)
    except (DamagedError, InputError, ValueError) as error:
        return f"what was recorded cannot be read: {error}"


def _absent(context: Context, node: str, level: str | None, found: list[str]) -> list[str]:
    """Why a node is not shown, and what is shown that is called nearly so."""
    if found:
        return [f"needed {node} by its {level} or more, found its {found[0]}"]
    told = [f"needed {node}, which is not shown"]
    out = [f"out: {one.reason}" for one in context.omissions if one.node == node][:1]
    # The builder names so many things that are left out; of the others it tells how many.
    more = [f"{one.node} are out: {one.reason}" for one in context.omissions if not one.section]
    known = {one.node: f"{one.node} (out: {one.reason})" for one in context.omissions
             if one.section and one.node != node}  # fmt: skip
    known |= {item.node: f"{item.node} ({item.level})" for item in context.items}
    near = get_close_matches(node, known, NEAREST, 0.5)
    nearest = [f"nearest: {', '.join(known[one] for one in near)}"] if near else []
    return [*told, *(out or more), *nearest]


def _is(item: Item, node: str) -> bool:
    """Whether an item is what was named, by its node or by a bare path."""
    if item.node == node or kind_of(node) in KINDS or not file_of(item.node):
        return item.node == node
    return node in (path_of(item.node), item.node.partition(":")[2])


def _context(shown: Context | Replayed) -> Context:
    __tracebackhide__ = True
    return shown.context if isinstance(shown, Replayed) else shown


def _step(shown: Context | Replayed) -> Replayed:
    __tracebackhide__ = True
    if isinstance(shown, Replayed):
        return shown
    raise InputError("needed a step of 'replay', which knows its past, found a context alone")


def _tokenizer(*shown: Context | Replayed) -> Tokenizer:
    """What counted one of some prompts; bytes where nobody knows."""
    counters = (one.builder.counting.tokenizer for one in shown
                if isinstance(one, Replayed) and one.builder)  # fmt: skip
    return next(counters, UpperBound())


def _prompt(shown: Context | Replayed, beside: Context | Replayed) -> ComparablePrompt:
    """A prompt as it can be compared; a context alone in the chat template of the other one."""
    if isinstance(shown, Replayed):
        return shown.prompt
    builder = beside.builder if isinstance(beside, Replayed) else None
    return built("the context", shown, builder.profile.template if builder else "chatml")
