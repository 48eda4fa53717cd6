"""The names of modules that tests can import: told before anything is asked.

>>> check_importable(["shop/random.py"])
>>> check_importable(["as.py"])
Traceback (most recent call last):
...
ValueError: needed a module that tests can import, found 'as.py': as is a word of Python's grammar
"""

import keyword
import re
import sys
from collections.abc import Iterable, Sequence

OF_PYTEST = ("_pytest", "iniconfig", "packaging", "pluggy", "py", "pygments", "pytest")
"What pytest has imported before any code of a task."
TESTS = re.compile(r"test_.*\.py|.*_test\.py")


def check_importable(paths: Sequence[str], texts: Iterable[str] = ()) -> None:
    """Raise `ValueError` for a module that tests cannot import, however it is written.

    `texts` are those of the tests: a file that they name is run by its path and may have any name.
    """
    named = "\n".join(texts)
    for path in paths:
        if why := _why_not(path, named):
            raise ValueError(f"needed a module that tests can import, found {path!r}: {why}")
    files = {path.removesuffix(".py").casefold(): path for path in paths}
    for path in paths:
        folder = path
        while folder := folder.rpartition("/")[0]:
            if other := files.get(folder.casefold()):
                raise ValueError(
                    f"needed modules that tests can import, found {other!r} and {path!r}: of a"
                    " module and a package of one name Python imports one only; rename one"
                )


def _why_not(path: str, named: str) -> str:
    """Return why tests cannot import a module; empty where they can."""
    *folders, file = path.split("/")
    stem = file.removesuffix(".py")
    first = folders[0] if folders else stem
    if first in sys.stdlib_module_names:
        return (
            f"Python has a module {first} of its own, which is imported in its place; take another"
            f" name, or a package, such as shop/{path}"
        )
    if first in OF_PYTEST:
        return f"pytest has a module {first}, which is imported in its place; take another name"
    if TESTS.fullmatch(file):
        return "pytest takes it for a file of tests, and tests are given; take another name"
    for part in (*folders, stem):
        if part.isidentifier() and not keyword.iskeyword(part):
            continue
        if any(name in named for name in (file, f'"{stem}"', f"'{stem}'")):
            return ""
        if keyword.iskeyword(part):
            return f"{part} is a word of Python's grammar"
        fitting = re.sub(r"\W", "_", part)
        fitting = fitting if fitting.isidentifier() else f"_{fitting}"
        return f"{part} is no name in Python; name it {fitting}, for instance"
    return ""
