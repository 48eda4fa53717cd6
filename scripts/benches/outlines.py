"""How long the outline of a Python module takes, beside the language's own parser.

`python -m scripts.benches.outlines FOLDER` reads every module below a folder. An outline is made
of each, whole and after a version in which one function differs; every outline parses the module
once. A round is all modules.
"""

import ast
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console

from backcast.domain.outline import Outline
from backcast.engine.memory.outliner import python
from scripts.benches.figures import Bound, Figure, in_turns, ratios, show

ROUNDS = 9


class Module(NamedTuple):
    """A module, and the outline of a version in which one of its functions differs."""

    path: str
    source: bytes
    before: Outline


def measure(paths: Sequence[Path], rounds: int = ROUNDS) -> list[Figure]:
    """The rows of the table."""
    modules = [_module(path) for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed, whole, after = in_turns(
            rounds,
            lambda: [ast.parse(module.source) and None for module in modules],
            lambda: [python.outline(m.path, m.source) and None for m in modules],
            lambda: [python.outline(*module) and None for module in modules],
        )
    lines = sum(module.source.count(b"\n") for module in modules)
    group = f"outlines of {len(modules)} modules, {lines:,} lines"
    control = f"ast.parse {1000 * median(parsed):.0f} ms"
    return [
        Figure(group, "ast.parse alone", [1000 * one for one in parsed], "ms"),
        Figure(
            group, "whole outline", ratios(whole, parsed),
            ours=f"{1000 * median(whole):.0f} ms", control=control, aim=Bound("<=", 2),
        ),
        Figure(
            group, "outline after one function changed", ratios(after, parsed),
            ours=f"{1000 * median(after):.0f} ms", control=control, aim=Bound("<=", 1.2),
        ),
    ]  # fmt: skip


def _module(path: Path) -> Module:
    source = path.read_bytes()
    before = python.outline(str(path), source)
    functions = sorted(
        lines for name, lines in before.lines.items() if before.facets[f"sig:{name}"][0] != "class"
    )
    if functions:
        lines = source.splitlines(keepends=True)
        last = functions[len(functions) // 2][1] - 1
        lines[last] = lines[last].rstrip() + b"  # as it was\n"
        before = python.outline(str(path), b"".join(lines))
    return Module(str(path), source, before)


def main() -> None:
    """Measure the modules below a folder."""
    if len(sys.argv) != 2 or not (paths := sorted(Path(sys.argv[1]).rglob("*.py"))):
        sys.exit("needed a folder with Python modules")
    show(measure(paths), Console())


if __name__ == "__main__":
    main()
