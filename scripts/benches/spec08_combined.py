"""Calls about long outputs with each technique by itself and with all of them, beside none.

Real suites are run whose tests fail; of each output four questions are asked. Without a technique
the calls follow one another, each with the whole output, so the server finds by itself what it has
read for the one before. Each technique gets the same calls at a server that has read nothing yet.
"""

import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.text_request import request_of
from backcast.engine.memory.compress import compress
from backcast.engine.models import Message
from backcast.engine.models.places import model_file
from backcast.engine.models.server import ServerModel
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.figures import Bench, Bound, Figure, ratios
from scripts.benches.spec08_latency import SERVER
from scripts.benches.spec08_prefixes import AskedWaves, ask_waves, in_words, server

SLOTS, WINDOW = 4, 4_096
SHOPS, MODULES = ("shop", "depot", "office"), ("cart", "till", "shelf")
"Suites, each of which is a source, and the modules of each; the questions are about the first."
TARGET = 500
"Tokens of an output that is compressed."
SYSTEM = "You answer questions about the output of tests in one short sentence."
MODULE = '''"""Amounts of a {name}."""


def {name}_total(prices: list[int], discount: int) -> int:
    """Return the sum of some prices, less a discount in percent."""
    return sum(prices) * (100 + discount) // 100


def {name}_parts(total: int, people: int) -> list[int]:
    """Share a total out among people, to the last cent."""
    return [total // people] * people
'''
TESTS = """from {name} import {name}_parts, {name}_total


def test_{name}_is_less_10_percent():
    assert {name}_total([{price}, 250], discount=10) == {less}


def test_{name}_is_less_50_percent():
    assert {name}_total([{price}, 50], discount=50) == {half}


def test_{name}_is_shared_by_3():
    assert sum({name}_parts({price} + 1, 3)) == {price} + 1


def test_{name}_is_shared_by_7():
    assert sum({name}_parts({price} + 1, 7)) == {price} + 1
"""
ASKED = ("is_less_10_percent", "is_less_50_percent", "is_shared_by_3", "is_shared_by_7")


class Technique(NamedTuple):
    """How the calls are made."""

    name: str
    side_by_side: bool = False
    placed: bool = False
    compressed: bool = False


NAMED = "time", "tokens read", "processor time"
NONE = Technique("none")
TECHNIQUES = (
    Technique("side by side", side_by_side=True),
    Technique("side by side, shared prefixes", side_by_side=True, placed=True),
    Technique("compression", compressed=True),
    Technique("all three", side_by_side=True, placed=True, compressed=True),
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--combined-rounds", type=int, default=2, help="rounds of all techniques")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    file, group = model_file(bench.options.weights), "12 calls about 3 outputs of failing suites"
    if not (SERVER.exists() and file.exists()):
        return [Figure(group, "all", why=f"needs llama-server and {file.name}")]
    outputs = {name: _output(bench.folder / "combined", name) for name in SHOPS}
    taken: dict[Technique, list[AskedWaves]] = {one: [] for one in (NONE, *TECHNIQUES)}
    for number in range(bench.options.combined_rounds):
        for technique in taken:
            bench.say(f"{technique.name}, round {number + 1}")
            prompts = _prompts(outputs, compressed=technique.compressed)
            taken[technique].append(_asked(bench, file, technique, prompts))
    return list(_rows(group, taken))


def _asked(
    bench: Bench, file: Path, technique: Technique, prompts: list[list[Message]]
) -> AskedWaves:
    """Ask some prompts by a technique, of a server that has read nothing."""
    each = len(ASKED) if technique.side_by_side else 1
    waves = [prompts[begin : begin + each] for begin in range(0, len(prompts), each)]
    started = server(bench.folder, file, SLOTS, saves=technique.placed, window=WINDOW)
    with started as (url, pid):
        return ask_waves(ServerModel(url), pid, waves, SLOTS, placed=technique.placed)


def _rows(group: str, taken: dict[Technique, list[AskedWaves]]) -> Iterator[Figure]:
    control = taken[NONE]
    for technique in TECHNIQUES:
        ours = taken[technique]
        for what, name in zip(("seconds", "read", "processor"), NAMED, strict=True):
            mine, other = ([getattr(one, what) for one in runs] for runs in (ours, control))
            must = Bound("<=", 0.5) if what == "read" and technique.compressed else None
            yield Figure(group, f"{technique.name}: {name}, of the control's", ratios(mine, other),
                         "x", in_words(mine, what), f"none: {in_words(other, what)}",
                         must)  # fmt: skip
        hits, theirs = ([100 * one.hits / one.calls for one in runs] for runs in (ours, control))
        yield Figure(
            group, f"{technique.name}: hits", hits, "%", "", f"none: {median(theirs):.0f} %"
        )


def _output(folder: Path, shop: str) -> str:
    """Return what the suite of some small modules prints, all of whose tests fail."""
    shutil.rmtree(folder / shop, ignore_errors=True)
    (folder / shop).mkdir(parents=True)
    for number, name in enumerate(MODULES, 1 + SHOPS.index(shop)):
        price = 300 * number
        tests = TESTS.format(
            name=name, price=price, less=(price + 250) * 90 // 100, half=(price + 50) // 2
        )
        (folder / shop / f"{name}.py").write_text(MODULE.format(name=name))
        (folder / shop / f"test_{name}.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "."]
    ran = subprocess.run(command, cwd=folder / shop, capture_output=True, text=True, check=False)
    return ran.stdout.replace(str(folder), "")


def _prompts(outputs: dict[str, str], *, compressed: bool) -> list[list[Message]]:
    """Return the prompts, those about one source behind each other."""
    shown = {shop: _short(text) if compressed else text for shop, text in outputs.items()}
    return [
        [
            Message("system", SYSTEM),
            Message("user", f"{text}\n\nWhat does test_{MODULES[0]}_{asked} expect?"),
        ]
        for text in shown.values()
        for asked in ASKED
    ]


def _short(text: str) -> str:
    """Return an output as a step is shown it that asks about the first module."""
    settings = CompressionSettings(target=TARGET, over=TARGET)
    request = request_of(f"What do the tests in test_{MODULES[0]}.py expect?")
    return compress(text, request, settings, tokenizer_of("mistral-v3")).text
