"""Nats of what came next behind a long output: whole, compressed, and as head and tail.

Two kinds of cases: a failing suite before a real fix, with the lines that the fix wrote; and a long
result in an agent's run, with the next action. Each output is cut to its last `WHOLE` tokens, which
the reader can hold, and then to what must stay and 30 % of the rest. Both short forms have the same
tokens, and `nothing` has no output at all. A case of which most must stay compares nothing, and is
left out.
"""

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from backcast.domain.compression import extracted
from backcast.domain.histories import asked_at
from backcast.domain.message_parts import MESSAGE, RESULT
from backcast.domain.text_request import TextRequest, request_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.places import model_file
from backcast.engine.replay.agent_prompts import agent_prompts, has_messages
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.reader_files import wide_file
from scripts.benches.spec08_fixes import fixes
from scripts.benches.spec08_recall import Count, head_and_tail

GROUP = "nats per token of what came next"
WHOLE, TARGET, LEAST = 2_200, 600, 1_800
"Tokens of a whole output at most, of a short form and of an output that is read at least."
STAYS, MOST = 0.3, 0.6
"The share of what may go that stays, and the largest share of an output that a short form has."
ANSWER, ASKED = 450, 900
"Characters of what came next, and of each part of the request before it, at most."
ARMS = ("full", "ours", "head and tail", "nothing")


class NatsCase(NamedTuple):
    """An output, what was asked, and what came next."""

    kind: str
    name: str
    request: str
    output: str
    written: str
    asked: TextRequest


def fix_cases(
    bench: Bench, python: Path, kept: Path, most: int, count: Count
) -> Iterator[NatsCase]:
    """Yield failing suites of the repositories before their fixes, in turns."""
    found = [list(fixes(folder, python, kept, 8)) for folder in bench.repositories]
    turns = [own[n] for n in range(8) for own in found if n < len(own)]
    for fix in turns:
        output = _cut(fix.output, count)
        if count(output) >= LEAST and most > 0:
            most -= 1
            request = f"Make the failing tests pass.\n{fix.request[:ASKED]}"
            written = fix.written[:ANSWER]
            yield NatsCase("fixes", fix.name, request, output, written, request_of(request))


def action_cases(stores: Sequence[Path], most: int, count: Count) -> Iterator[NatsCase]:
    """Yield long results of agents' runs with the action behind each, at most two of a run."""
    found = list[NatsCase]()
    for place in stores:
        with EventStore.open(f"sqlite:///{place}") as store:
            for task in store.tasks():
                if has_messages(store, task):
                    found += list(_actions(store, task, count))[:2]
    random.Random(1).shuffle(found)
    yield from found[:most]


def _actions(store: EventStore, task: str, count: Count) -> Iterator[NatsCase]:
    for prompt in agent_prompts(store, task, len):
        parts = prompt.parts
        if not parts or parts[-1].kind != RESULT or len(parts[-1].text) < 2 * LEAST:
            continue
        if count(parts[-1].text) < LEAST:
            continue
        users = [part.text for part in parts if part.role == "user" and part.kind == MESSAGE]
        own = [part.text for part in parts if part.turn == parts[-1].turn and part != parts[-1]]
        # What a tool's instructions say comes behind what is wanted.
        request = f"{(users or [''])[-1][:ASKED]}\n\n{' '.join(own)[-ASKED:]}"
        written = "\n".join(prompt.action)[:ANSWER]
        if written.strip():
            output = _cut(parts[-1].text, count)
            asked = asked_at(parts, len(parts) - 1)
            name = f"{task}@{prompt.version}"
            yield NatsCase("actions", name, request, output, written, asked)


def _cut(text: str, count: Count) -> str:
    """Return the last lines of a text that fit."""
    lines, room = text.split("\n"), WHOLE
    for place in range(len(lines) - 1, -1, -1):
        room -= count(lines[place][:8_000]) + 1
        if room < 0:
            return "\n".join(lines[place + 1 :])
    return text


def forms(case: NatsCase, count: Count) -> dict[str, str] | None:
    """Return the output of a case in each form; None where most of it must stay."""
    whole = count(case.output)
    stays = extracted(case.output, case.asked, TARGET, count, tokens=whole).protected
    target = max(TARGET, stays + round(STAYS * (whole - stays)))
    if target > MOST * whole:
        return None
    short = extracted(case.output, case.asked, target, count, tokens=whole)
    return {
        "full": case.output, "ours": short.text,
        "head and tail": head_and_tail(case.output, short.tokens, count), "nothing": "",
    }  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part; those of compression hold here too."""
    add = parser.add_argument
    add("--reader", metavar="FILE", help="a model file that reads, for nats")
    add("--cases", type=int, default=6, help="cases of each kind that it reads (6)")
    add("--threads", type=int, default=1, help="threads of the reader (1)")
    add("--minutes", type=float, default=30, help="no case begins after so many (30)")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table: fixes need --python, actions --runs, and all a --reader."""
    options = bench.options
    if not options.reader:
        return [Figure(GROUP, "ours beside head and tail", why="needs --reader FILE")]
    kept = options.kept or bench.folder
    reader = reader_of(options, kept)
    actions = list(action_cases(options.runs, options.cases, reader.count))
    fixed = list[NatsCase]()
    if options.python:
        fixed += fix_cases(bench, options.python, kept, options.cases, reader.count)
    nats, end = list[tuple[NatsCase, dict[str, float]]](), time.monotonic() + 60 * options.minutes
    for case in (one for pair in zip_longest(fixed, actions) for one in pair if one):
        begin = time.monotonic()
        if begin > end:
            bench.say(f"{options.minutes:g} minutes are over: {case.kind} {case.name} is not read")
            continue
        found = read(reader, case)
        shown = ", ".join(f"{arm} {value:.3f}" for arm, value in found.items()) or "must stay"
        bench.say(f"{case.kind} {case.name}: {shown} ({time.monotonic() - begin:.0f} s)")
        if found:
            nats.append((case, found))
    figures = list[Figure]()
    for kind in ("fixes", "actions"):
        own = [found for case, found in nats if case.kind == kind]
        if own:
            figures += _rows(kind, own)
    return figures or [Figure(GROUP, "ours beside head and tail", why="no case: --runs, --python")]


def reader_of(options: argparse.Namespace, folder: Path) -> LikelihoodReader:
    """Return the reader that the options name."""
    file = wide_file(model_file(options.reader), folder)
    return LikelihoodReader(file, WHOLE + 3_000, threads=options.threads, forgets=True)


def read(reader: LikelihoodReader, case: NatsCase) -> dict[str, float]:
    """Return the nats per token of what came next, behind each form; none where none is short."""
    found = dict[str, float]()
    for arm, text in (forms(case, reader.count) or {}).items():
        content = f"{case.request}\n\n{text}" if text else case.request
        prompt = reader.prompt([("user", content)])
        result = reader.read(prompt, case.written)
        found[arm] = sum(result.nats) / len(result.nats)
    return found


def _rows(kind: str, own: Sequence[dict[str, float]]) -> Iterator[Figure]:
    means = {arm: mean(one[arm] for one in own) for arm in ARMS}
    behind = [100 * (one["ours"] / one["head and tail"] - 1) for one in own]
    low, high = interval(behind)
    better, middle = sum(value < 0 for value in behind), median(behind)
    yield Figure(
        GROUP, f"{kind}, {len(own)}: ours beside head and tail of the same size",
        [100 * (means["ours"] / means["head and tail"] - 1)], "%", f"{means['ours']:.3f} nats",
        f"{means['head and tail']:.3f}; median {middle:+.1f} %, 95 % of the mean {low:+.1f} to"
        f" {high:+.1f}; better on {better}",
        must=Bound("<=", 0),
    )  # fmt: skip
    yield Figure(
        GROUP, f"{kind}: ours beside the full output", [100 * (means["ours"] / means["full"] - 1)],
        "%", f"{means['ours']:.3f} nats",
        f"full {means['full']:.3f}, no output {means['nothing']:.3f}", aim=Bound("<=", 1),
    )  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by bootstrap."""
    drawn = random.Random(1)
    means = sorted(mean(drawn.choices(values, k=len(values))) for _ in range(2_000))
    return means[50], means[1_949]
