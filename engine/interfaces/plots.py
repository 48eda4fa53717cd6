"""Pictures of a run and of policies, as SVG: equal figures give equal bytes.

They follow the reader's light or dark ground, and no meaning hangs on a colour alone: each series
stands in the legend in the order in which it is drawn, and each mark has its figure as a title.
"""

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.interfaces.run_stats import CallSections
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import one_line

if TYPE_CHECKING:
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.replay.history_figures import HistoryFigures

WIDTH, LEFT, RIGHT = 900, 70, 20
HIGH, LOW = 240, 110
"Heights of the two panels of a run."
LEGEND, ROW = 18, 34
SERIES = 10
"Sections with a colour of their own; the smallest of more are drawn together."
COLUMNS = 400
"Prompts that get a column each; of more, a column is the mean of several in a row."
FINE = 4
"Columns that are narrower than so many units stand without gaps."
LETTER = 6.6
"About the width of a letter."
_STYLE = """
  svg { --ground: #fff; --ink: #16191d; --soft: #59626c; --line: #d5d9dd; background: var(--ground);
    --s0: #e69f00; --s1: #0072b2; --s2: #009e73; --s3: #d55e00; --s4: #56b4e9; --s5: #cc79a7;
    --s6: #8a6d00; --s7: #7f6bb8; --s8: #8fbf3f; --s9: #9aa2ab; font: 12px sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #14171a; --ink: #e6e9ec; --soft: #a3adb6; --line: #363d44; --s1: #2f8fd8;
      --s4: #a9dcff; --s6: #b5a642; } }
  .ground { fill: var(--ground); } text { fill: var(--ink); } .soft { fill: var(--soft); }
  .dense { shape-rendering: crispEdges; } .dense .bar { stroke: none; }
  line { stroke: var(--line); } .bar { stroke: var(--ground); stroke-width: .5; }
  .mark { fill: var(--s1); } .base { fill: var(--s3); } .span { stroke: var(--s1); }
  .span { stroke-width: 3; } .end { text-anchor: end; } .middle { text-anchor: middle; }"""


class PolicyMark(NamedTuple):
    """A policy's evidence recall, in percent."""

    name: str
    recall: float
    interval: tuple[float, float] | None
    "None where there are too few runs or changes for one."
    shown: str
    "How much of the evidence is shown, in words."


def write_plot(path: Path, text: str) -> None:
    """Write a picture. `InputError` where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def run_plot(task: str, prompts: Sequence[CallSections]) -> str:
    """Return the tokens of each prompt by section, and the share that was the same as before."""
    count, ends = len(prompts), ""
    if prompts:
        ends = f"{count:,} prompts, events {prompts[0].version} to {prompts[-1].version}"
        untold = sum(prompt.kept is None for prompt in prompts)
        ends = ends if count > 1 else f"1 prompt, event {prompts[0].version}"
        ends += f"; of {untold:,} nobody tells what was kept" if untold else ""
    together = -(-count // COLUMNS)
    if together > 1:
        ends += f"; each column is the mean of {together}"
        prompts = [_mean(prompts[at : at + together]) for at in range(0, count, together)]
    names = _names(prompts)
    rows = (len(names) + 2) // 3
    top = 46 + LEGEND * rows
    height = top + HIGH + 40 + LOW + 44
    body = [_text(LEFT, 22, f"{task}: tokens of each prompt, by section", "head")]
    if not prompts:
        return _svg(60, [*body, _text(LEFT, 46, "no prompt is known by its parts", "soft")])
    for number, name in enumerate(names):
        across, down = LEFT + 270 * (number % 3), 44 + LEGEND * (number // 3)
        body.append(f'<rect x="{across}" y="{down - 10}" width="11" height="11" {_fill(number)}/>')
        body.append(_text(across + 17, down, name))
    step = (WIDTH - LEFT - RIGHT) / len(prompts)
    most = max(sum(tokens for _, tokens in prompt.tokens) for prompt in prompts) or 1
    body += _axis(top, HIGH, most, "{:,.0f}")
    body.append('<g class="dense">' if step < FINE else "<g>")
    for place, prompt in enumerate(prompts):
        sums = _summed(prompt, names)
        x, y = LEFT + place * step, float(top + HIGH)
        for number, name in enumerate(names):
            tall = HIGH * sums.get(name, 0) / _ceiling(most)
            y -= tall
            if tall:
                title = f"event {prompt.version}, {name}: {sums[name]:,} tokens"
                body.append(_bar(x, y, step, tall, _fill(number), title))
    low = top + HIGH + 40
    body.append(_text(LEFT, low - 10, "share of each prompt that was the same as before"))
    body += _axis(low, LOW, 1.0, "{:.0%}")
    for place, prompt in enumerate(prompts):
        x = LEFT + place * step
        if prompt.kept is None:
            continue
        title = f"event {prompt.version}: {prompt.kept:.0%}"
        tall = max(1.0, LOW * prompt.kept)
        body.append(_bar(x, low + LOW - tall, step, tall, 'class="bar mark"', title))
    body += ["</g>", _text(LEFT, low + LOW + 22, ends, "soft")]
    return _svg(height, body)


def marks_of(columns: "Sequence[Column]") -> list[PolicyMark]:
    """Return the marks of policies beside a baseline. The interval is that of the difference, so it
    stands around the baseline's recall."""
    base = columns[0].summary.recall if columns else None
    found = []
    for column in columns:
        summary, beside = column.summary, column.beside
        if summary.recall is not None:
            between = beside.interval if beside else None
            ends = (base + between[0], base + between[1]) if base and between else None
            count = f"{summary.shown:,} of {summary.used:,}"
            found.append(PolicyMark(column.name, summary.recall, ends, count))
    return found


def history_marks(rows: "Sequence[HistoryFigures]") -> list[PolicyMark]:
    """Return the marks of policies of an agent's messages."""
    return [
        PolicyMark(row.name, row.recall, row.interval, f"{row.shown:,} of {row.used:,}")
        for row in rows
        if row.recall is not None
    ]


def recall_plot(marks: Sequence[PolicyMark], bar: str = "of the difference to it") -> str:
    """Return the evidence recall of policies with its intervals; the first is the baseline."""
    names = [one_line(escaped(mark.name), 40) for mark in marks]
    begins = 30 + max([80, *(int(LETTER * len(name)) for name in names)])
    if not marks:
        return _svg(60, [_text(20, 30, "nothing was used that a prompt could have shown", "soft")])
    lows = [max(0.0, min([mark.recall, *(mark.interval or ())])) for mark in marks]
    begin = 0 if min(lows) < 50 else 50 if min(lows) < 90 else 90
    across = WIDTH - begins - 190
    end = 46 + ROW * len(marks)
    body = [_text(20, 22, "evidence recall: what the work used, and the prompt had shown", "head")]
    for number in range(6):
        share = begin + (100 - begin) * number / 5
        x = begins + across * number / 5
        body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="38" y2="{end}"/>')
        body.append(_text(x, end + 18, f"{share:g} %", "soft middle"))
    for number, (mark, name) in enumerate(zip(marks, names, strict=True)):
        y = 46 + ROW * number + 12
        at = begins + across * (mark.recall - begin) / (100 - begin)
        words = f"{mark.recall:.1f} % ({mark.shown})"
        if mark.interval:
            limits = [min(100.0, max(0.0, limit)) for limit in mark.interval]
            ends = [begins + across * (limit - begin) / (100 - begin) for limit in limits]
            body.append(f'<line class="span" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}"'
                        f' y2="{y}"/>')  # fmt: skip
            words += " 95 % {:.1f} to {:.1f}".format(*mark.interval)
        shape = f'x="{at - 5:.1f}" y="{y - 5}" width="10" height="10"'
        dot = f'<rect class="base" {shape}>' if not number else (
            f'<circle class="mark" cx="{at:.1f}" cy="{y}" r="5">'
        )  # fmt: skip
        body.append(f"{dot}<title>{_safe(mark.name)}: {words}</title></{dot[1:].split(' ')[0]}>")
        body.append(_text(begins - 12, y + 4, name, "end"))
        body.append(_text(begins + across + 12, y + 4, f"{mark.recall:.1f} %, {mark.shown}"))
    note = f"the square is the baseline; a bar is the 95 % interval {bar}, over runs or changes"
    if not any(mark.interval for mark in marks):
        note = "the square is the baseline; too few runs or changes for an interval"
    body.append(_text(20, end + 44, note, "soft"))
    return _svg(end + 58, body)


def _mean(prompts: Sequence[CallSections]) -> CallSections:
    """Return some prompts as one: the mean of their tokens, and of the shares that are told."""
    sums: dict[str, int] = {}
    for prompt in prompts:
        for name, tokens in prompt.tokens:
            sums[name] = sums.get(name, 0) + tokens
    tokens_of = tuple((name, round(total / len(prompts))) for name, total in sums.items())
    shares = [prompt.kept for prompt in prompts if prompt.kept is not None]
    return prompts[0]._replace(tokens=tokens_of, kept=sum(shares) / len(shares) if shares else None)


def _names(prompts: Sequence[CallSections]) -> list[str]:
    """Return the sections that get a colour, in the order in which prompts show them."""
    sums: dict[str, int] = {}
    for prompt in prompts:
        for name, tokens in prompt.tokens:
            sums[name] = sums.get(name, 0) + tokens
    large = sorted(sums, key=lambda name: (-sums[name], name))
    kept = large if len(large) <= SERIES else large[: SERIES - 1]
    shown = [name for name in sums if name in kept and sums[name]]
    return shown if len(large) <= SERIES else [*shown, "others"]


def _summed(prompt: CallSections, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, tokens in prompt.tokens:
        name = name if name in names else "others"
        found[name] = found.get(name, 0) + tokens
    return found


def _axis(top: int, height: int, most: float, form: str) -> Iterator[str]:
    ceiling = _ceiling(most)
    for number in range(3):
        y = top + height - height * number / 2
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        yield _text(LEFT - 8, y + 4, form.format(ceiling * number / 2), "soft end")


def _ceiling(most: float) -> float:
    """Return a round number that is not below another.

    >>> _ceiling(2437), _ceiling(1.0)
    (2500.0, 1.0)
    """
    unit = float(10 ** floor(log10(most))) / 2
    return -(-most // unit) * unit


def _bar(x: float, y: float, step: float, tall: float, look: str, title: str) -> str:
    gap = 0.04 * step if step >= FINE else 0.0
    wide = step - 2 * gap
    place = f'x="{x + gap:.2f}" y="{y:.2f}" width="{wide:.2f}" height="{tall:.2f}"'
    return f"<rect {place} {look}><title>{_safe(title)}</title></rect>"


def _fill(number: int) -> str:
    return f'class="bar" style="fill: var(--s{number})"'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    look = ' style="font-weight: bold; font-size: 14px"' if kind == "head" else ""
    named = f' class="{kind}"' if kind and not look else ""
    return f'<text x="{x:g}" y="{y:g}"{named}{look}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    """Return a text of a log as SVG can hold it: no control characters, no marks of its own."""
    return escape(escaped(text))


def _svg(height: int, body: Sequence[str]) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    lines = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<style>{_STYLE}\n</style>\n'
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>\n{lines}\n</svg>\n'
    )
