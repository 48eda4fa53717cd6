"""Compression of real outputs of tools: how much goes, what stays, and how long it takes, beside
head and tail of the same size.

The three losses of compression are counted apart: order (lines that are shown in another order),
causes (an error without the heading of its test, or a chained error without its cause), and
dependency paths (of the imports that a search found, those 1 to 4 hops from what is asked about).
"""

import argparse
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.compression import CompressedText, compressed, extracted
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.error_lines import numbered_errors
from backcast.domain.text_request import HOPS, request_of
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.spec08_outputs import ToolOutput, outputs
from scripts.benches.spec08_recall import Count, head_and_tail, recall_rows
from scripts.benches.spec08_touched import FRAME, distances_in, touched

LEAST, TIMED = 5_000, 20_000
"Tokens of an output from which on it is compressed, and of one that is timed."
GROUP = "outputs of tools of over 5,000 tokens"


class Kept(NamedTuple):
    """How much of something is left in a short form."""

    ours: int = 0
    plain: int = 0
    "In head and tail of the same size."
    all: int = 0

    def plus(self, other: "Kept") -> "Kept":
        return Kept(*(a + b for a, b in zip(self, other, strict=True)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    add = parser.add_argument
    add("--python", type=Path, metavar="FILE", help="an interpreter that has what suites need")
    add("--runs", type=Path, action="append", default=[], metavar="STORE",
        help="a store with agents' runs; may be repeated")  # fmt: skip
    add("--kept", type=Path, metavar="FOLDER", help="where outputs are kept from call to call")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    options = bench.options
    if not options.python:
        return [Figure(GROUP, "ratio, what stays, time", why="needs --python FILE")]
    kept = options.kept or bench.folder
    count = tokenizer_of("mistral-v3").count
    found = list[ToolOutput]()
    for folder in bench.repositories:
        found += outputs(folder.resolve(), options.python, kept)
        bench.say(f"{folder.name}: {len(found)} outputs so far")
    known = {output: tokens for output in found if (tokens := count(output.text)) > LEAST}
    return [*_outputs(known, count), *recall_rows(options.runs, count)]


def _outputs(known: Mapping[ToolOutput, int], count: Count) -> Iterator[Figure]:
    names = Counter(output.name.split()[0] for output in known)
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(names.items()))
    ratios, wholes, before, after = list[float](), list[float](), 0, 0
    kept: dict[str, Kept] = defaultdict(Kept)
    states = Counter[str]()
    for output, tokens in known.items():
        near = distances_in(output)
        request = request_of(output.request, near)
        short = compressed(output.text, request, CompressionSettings(), count, tokens=tokens)
        states[short.state or "as it was"] += 1
        wholes.append(short.ratio)
        before, after = before + tokens, after + short.tokens
        # At the largest share that may go, whatever the target.
        least = short.protected + round(0.3 * (tokens - short.protected))
        most = extracted(output.text, request, least, count, tokens=tokens)
        if most.state and tokens - most.protected > 500:
            free = (tokens - most.protected) / max(1, most.tokens - most.protected)
            ratios.append(free)
        plain = head_and_tail(output.text, short.tokens, count)
        for name, found in _stays(output, short, plain, near).items():
            kept[name] = kept[name].plus(found)
    made = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    yield Figure(GROUP, f"{len(known)} outputs: {kinds}", wholes, "x",
                 f"{before:,} -> {after:,} tokens", made)  # fmt: skip
    yield Figure(GROUP, "ratio on what may be compressed, 70 % of it", ratios, "x",
                 must=Bound(">=", 3))  # fmt: skip
    for name in sorted(kept):
        ours, plain_kept, whole = kept[name]
        if whole:
            must = Bound(">=", 100) if name in EXACT else Bound(">=", 100 * plain_kept / whole)
            yield Figure(
                GROUP, name, [100 * ours / whole], "%", f"{ours:,} of {whole:,}",
                f"head and tail {100 * plain_kept / whole:.1f} %", must=must,
            )  # fmt: skip
    yield _timed(known, count)


TOUCHED, ALL = "of what the request touches", "of all, whatever is asked"
EXACT = (
    f"distinct error lines {TOUCHED}", f"distinct frames {TOUCHED}", "paths that were asked for",
    "order: in a row",
)  # fmt: skip


def _stays(
    output: ToolOutput, short: CompressedText, plain: str, near: Mapping[str, int]
) -> dict[str, Kept]:
    lines = output.text.split("\n")
    forms = (
        {line.strip() for line in short.text.split("\n")},
        {line.strip() for line in plain.split("\n")},
    )
    errors = {lines[place].strip() for place, _ in numbered_errors(lines)}
    frames = {line.strip() for line in lines if FRAME.search(line)} - errors
    request = request_of(output.request)
    near_asked = touched(lines, request)
    asked = {path for path in request.paths if path in output.text}
    found = {
        f"distinct error lines {TOUCHED}": _counted(errors & near_asked, forms),
        f"distinct frames {TOUCHED}": _counted(frames & near_asked, forms),
        f"distinct error lines {ALL}": _counted(errors, forms),
        f"distinct frames {ALL}": _counted(frames, forms),
        "paths that were asked for": Kept(
            sum(path in short.text for path in asked), sum(path in plain for path in asked),
            len(asked),
        ),
        "order: in a row": _order(lines, short),
        f"causes {TOUCHED}: an error with the heading of its test": _causes(
            lines, forms, near_asked
        ),
        f"causes {ALL}: an error with the heading of its test": _causes(lines, forms),
    }  # fmt: skip
    for hops in range(1, HOPS + 1):
        wanted = {path for path, apart in near.items() if apart == hops}
        found[f"dependency paths: modules {hops} hops away"] = Kept(
            sum(path in short.text for path in wanted), sum(path in plain for path in wanted),
            len(wanted),
        )  # fmt: skip
    return found


def _counted(wanted: set[str], forms: tuple[set[str], set[str]]) -> Kept:
    """Return how many lines are left, but for colours and addresses in memory."""
    wanted, *bare = (set(map(_bare, lines)) for lines in (wanted, *forms))
    forms = bare[0], bare[1]
    return Kept(len(wanted & forms[0]), len(wanted & forms[1]), len(wanted))


def _bare(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|(?<=0x)[0-9a-fA-F]+", "", line).strip()


def _order(lines: Sequence[str], short: CompressedText) -> Kept:
    """Return how many neighbours among the shown lines stand in the order of the whole."""
    shown = [line for line in short.text.split("\n")[1:] if line.strip()]
    at, good, pairs = 0, 0, 0
    places = defaultdict[str, list[int]](list)
    for place, line in enumerate(lines):
        places[line].append(place)
    for line in shown:
        if line in places:
            pairs += 1
            later = [place for place in places[line] if place >= at]
            if later:
                good, at = good + 1, later[0]
    return Kept(good, pairs, pairs)


def _causes(
    lines: Sequence[str], forms: tuple[set[str], set[str]], wanted: set[str] | None = None
) -> Kept:
    heading, pairs = "", set[tuple[str, str]]()
    for line in lines:
        if re.match(r"_{3,} .+ _{3,}$", line):
            heading = line.strip()
        elif re.match(r"[=-]{5,} ", line):
            heading = ""
        elif heading and line.startswith("E  ") and (wanted is None or heading in wanted):
            pairs.add((heading, line.strip()))
    ours, cut = (sum(a in form and b in form for a, b in pairs) for form in forms)
    return Kept(ours, cut, len(pairs))


def _timed(known: Mapping[ToolOutput, int], count: Count) -> Figure:
    """Return the time of the extractive stage on outputs that are cut at 20,000 tokens."""
    times, counted = list[float](), list[float]()
    for output, tokens in known.items():
        text = output.text[: int(len(output.text) * min(1.0, TIMED / tokens))]
        size = count(text)
        if size < 0.8 * TIMED:
            continue
        request = request_of(output.request)
        for _ in range(3):
            begin = time.process_time()
            compressed(text, request, CompressionSettings(), count, tokens=size)
            middle = time.process_time()
            count(text)
            times.append(1_000 * (middle - begin))
            counted.append(1_000 * (time.process_time() - middle))
    if not times:
        return Figure(GROUP, "p95 of the extractive stage, 20,000 tokens", why="no long output")
    return Figure(
        GROUP, f"p95 of the extractive stage, 20,000 tokens, {len(times) // 3} outputs",
        [percentile(times, 95)], "ms", f"median {percentile(times, 50):.0f} ms",
        f"to count its tokens: p95 {percentile(counted, 95):.0f} ms", must=Bound("<=", 500),
    )  # fmt: skip
