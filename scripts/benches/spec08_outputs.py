"""Real outputs of tools: suites that fail, linters, builds, listings and searches."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.benches.spec08_fixes import fixes

SECONDS = 120.0
COMMANDS = {
    "ruff": "ruff check --isolated --select E,F,B,UP,SIM,PL,RUF --output-format full .",
    "mypy": "mypy --strict --ignore-missing-imports --no-incremental .",
    "grep": "grep -rnE import|raise --include=*.py .",
    "find": "find . -type f -not -path ./.git/*",
    "log": "git log --stat -n 150",
    "build": "pip install -v --dry-run --force-reinstall --no-deps .",
}
ASKED = {
    "ruff": "Which lints of {module} must be mended first?",
    "mypy": "Why does mypy refuse {module}?",
    "grep": "Which modules import {module}, and what does {module} raise?",
    "find": "Where are the tests of {module}?",
    "log": "Which commits changed {module} last?",
    "build": "Why does the build fail?",
}


class ToolOutput(NamedTuple):
    """An output of a tool, and what somebody wants of it."""

    name: str
    text: str
    request: str


def outputs(repository: Path, python: Path, kept: Path) -> Iterator[ToolOutput]:
    """Yield the outputs of a repository: failing suites, then each command's."""
    for fix in fixes(repository, python, kept, 8):
        yield ToolOutput(f"pytest {fix.name}", fix.output, fix.request)
    module = _module(repository)
    for name, command in COMMANDS.items():
        place = kept / f"{name}-{repository.name}.txt"
        if not place.is_file():
            place.write_bytes(_ran(repository, python, command))
        text = place.read_bytes().decode(errors="replace")
        yield ToolOutput(f"{name} {repository.name}", text, ASKED[name].format(module=module))


def _module(repository: Path) -> str:
    """Return the largest module of a repository that is no test."""
    known = [
        file for file in sorted(repository.rglob("*.py"))
        if "test" not in str(file.relative_to(repository)) and "doc" not in str(file)
    ]  # fmt: skip
    largest = max(known, key=lambda file: (file.stat().st_size, str(file)))
    return str(largest.relative_to(repository))


def _ran(repository: Path, python: Path, command: str) -> bytes:
    words = command.split()
    tool = python.parent / words[0]
    words[0] = str(tool) if tool.is_file() else words[0]
    env = {**os.environ, "COLUMNS": "100"}
    try:
        ran = subprocess.run(
            words, cwd=repository, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return late.stdout or b""
    return ran.stdout
