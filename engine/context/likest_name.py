"""Behind which function of its module will a new one stand? Behind the one with the likest name.

A test of a progress bar is written beside the tests of progress bars, a variant beside what it
varies. Words that few names of the module hold count more.
"""

import math
from collections import Counter
from collections.abc import Mapping

from backcast.domain.node import name_of, path_of
from backcast.engine.context.search.words import words

LEAST = 0.15
"How alike two names are at the least, for one to be placed behind the other."
BEGIN = 0.5
"The weight of how much of the name is alike from its beginning."


def likest(name: str, lines: Mapping[str, tuple[int, int]]) -> str:
    """Return the function, of those in the same class or none, whose name is likest; or nothing.

    `lines` are the first and last line of each. Tests are beside tests alone.

    >>> lines = {"help_option": (1, 2), "version_option": (4, 5), "echo": (7, 8)}
    >>> likest("custom_version_option", lines), likest("show", lines)
    ('version_option', '')
    """
    owner, _, last = name.rpartition(".")
    beside = [
        known for known in lines
        if known.rpartition(".")[0] == owner and _is_test(known) == _is_test(name)
    ]  # fmt: skip
    spread = Counter(word for known in beside for word in _words(known))
    size = len(beside)
    best, found = LEAST, ""
    for known in sorted(beside, key=lambda known: lines[known]):
        both = {
            word: math.log1p(size / max(1, spread[word])) for word in _words(known) | _words(name)
        }
        same = _words(known) & _words(name)
        alike = sum(both[word] for word in sorted(same)) / sum(both[word] for word in sorted(both))
        if same:
            alike += BEGIN * _begins_alike(known.rpartition(".")[2], last)
        if round(alike, 6) >= best:
            best, found = round(alike, 6), known
    return found


def _begins_alike(known: str, name: str) -> float:
    """Return how much of a name stands at the beginning of another too, in whole words."""
    both = 0
    for word, other in zip(f"{known}_".split("_"), f"{name}_".split("_"), strict=False):
        if word != other:
            break
        both += len(word) + 1
    return both / (len(name) + 1)


def tells_of(test: str, target: str) -> float:
    """Return how much a test's name and file tell of a target, both as nodes; from 0 to 1.

    >>> tells_of("test:tests/test_style.py::test_it", "function:a/b.py::style")
    1.0
    """
    stem = path_of(test).rpartition("/")[2].removesuffix(".py")
    held, asked = _words(name_of(test)) | _words(stem), _words(name_of(target))
    return len(held & asked) / max(1, len(asked))


def _is_test(name: str) -> bool:
    return name.rpartition(".")[2].startswith("test")


def _words(name: str) -> frozenset[str]:
    every = words(name.rpartition(".")[2])
    return frozenset(every[1:] if len(every) > 1 else every) - {"test"}
