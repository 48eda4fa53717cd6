"""Where can one see how a project is used? In its README, in its documents, and in its tests.

Blocks are quoted as they stand there, the shortest that say something; nothing is made up.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from posixpath import basename, dirname
from textwrap import dedent
from typing import NamedTuple

from backcast.domain.documents import CodeBlock, code_blocks
from backcast.domain.key_terms import KeyTerm
from backcast.domain.layout import Layout
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.outline import Lines
from backcast.domain.project_file import Text

WRITTEN, TESTED = 3, 4
"Examples from documents, and from tests."
MOST_LINES, LEAST_LINES, WIDEST = 30, 3, 110
"Lines of an example, and the columns of one."
PYTHON = ("python", "py", "python3", "pycon", "ipython", "python-repl", "py3")
FIRST = ("quickstart", "quick-start", "getting-started", "getting_started", "usage", "tutorial",
         "index", "introduction", "overview", "examples", "10-minutes-to-dask")  # fmt: skip
"Documents, by their names, that show use before others do."
_MEANT = re.compile(r"(?<!\w)\[/?[A-Z][A-Z0-9_]*\]|<[|\uff5c]|[|\uff5c]>|</?s>|_of_turn>|`{3}|~{3}")
"What a chat template, or a document around it, would take for a mark of its own."


class UsageExample(NamedTuple):
    """A piece of a file that shows use."""

    path: str
    first: int
    last: int
    language: str
    text: str
    of: str = ""
    "The term that a test uses; empty for an example of a document."


def written_examples(paths: Sequence[str], text: Text) -> Iterator[UsageExample]:
    """Yield blocks of Python of the READMEs at the top, then of the first documents."""
    count = 0
    for path in [*readmes(paths), *_documents(paths)]:
        for block in code_blocks(path, text(path) or ""):
            if count < WRITTEN and block.language in PYTHON and _is_short(block.text, 2):
                yield _example(path, block)
                count += 1
        if count == WRITTEN:
            return


def readmes(paths: Iterable[str]) -> list[str]:
    """Return the READMEs at the top, Markdown first."""
    found = [one for one in paths if "/" not in one and one.lower().partition(".")[0] == "readme"]
    return sorted(found, key=lambda path: (not path.lower().endswith((".md", ".markdown")), path))


def _documents(paths: Iterable[str]) -> list[str]:
    places = {name: place for place, name in enumerate(FIRST)}
    found = [
        path
        for path in paths
        if path.endswith((".md", ".rst"))
        and basename(path).rpartition(".")[0].lower() in places
        and dirname(path).partition("/")[0] in ("docs", "doc")
    ]
    return sorted(
        found,
        key=lambda path: (
            path.count("/"), places[basename(path).rpartition(".")[0].lower()], path,
        ),
    )  # fmt: skip


def _example(path: str, block: CodeBlock) -> UsageExample:
    return UsageExample(path, block.first, block.last, block.language, block.text)


def tested_examples(
    layout: Layout, terms: Iterable[KeyTerm], text: Text, lines: Callable[[str], Lines]
) -> Iterator[UsageExample]:
    """Yield short tests of the terms that a project speaks of most, one of each file."""
    seen, count = set[str](), 0
    for term in terms:
        found = _test_of(layout, term, text, lines, seen) if count < TESTED else None
        if found is not None:
            yield found
            seen.add(found.path)
            count += 1


def _test_of(
    layout: Layout, term: KeyTerm, text: Text, lines: Callable[[str], Lines], seen: set[str]
) -> UsageExample | None:
    tests = dict.fromkeys(test for node in term.nodes for test in layout.uses_of(node))
    for test in [one for one in tests if kind_of(one) == "test" and path_of(one) not in seen][:8]:
        path = path_of(test)
        first, last = lines(path).get(name_of(test), (1, 0))
        own = (text(path) or "").splitlines()[first - 1 : last] if first <= last else []
        quoted = dedent("\n".join(own))
        if _is_short(quoted, LEAST_LINES + 1) and _uses(term.name, quoted):
            return UsageExample(path, first, last, "python", quoted, term.name)
    return None


def _uses(name: str, text: str) -> bool:
    """Return whether a text calls a name, or decorates by it."""
    return bool(re.search(rf"(?<!\w){re.escape(name)}[(\[]|^\s*@\S*\b{name}\b", text, re.MULTILINE))


def _is_short(text: str, least: int) -> bool:
    """Return whether a text has few short lines, all of which can be shown as they are."""
    lines = text.split("\n")
    return (
        least <= len(lines) <= MOST_LINES
        and all(len(line) <= WIDEST and line.replace("\t", " ").isprintable() for line in lines)
        and not _MEANT.search(text)
    )
