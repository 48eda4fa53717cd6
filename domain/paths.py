"""What does the path of a module tell? Whether it is code, a test, or beside the code."""

from functools import lru_cache
from posixpath import basename

ASIDE = frozenset(("benchmarks", "docs", "docs_src", "doc", "examples", "example", "scripts"))
"Folders at the top that show or measure the code and are not the code."


@lru_cache(maxsize=50_000)
def is_test(path: str) -> bool:
    """Return whether a module holds tests, or code shared by tests, by its path.

    >>> is_test("tests/sources.py"), is_test("shop/test_cart.py"), is_test("shop/contest.py")
    (True, True, False)
    """
    *folders, file = path.split("/")
    if is_of_tests(file) or file == "conftest.py":
        return True
    return any(folder in ("test", "tests", "testing") for folder in folders)


def is_of_tests(path: str) -> bool:
    """Return whether a module is named as those are that hold tests.

    >>> is_of_tests("tests/sources.py"), is_of_tests("shop/test_cart.py")
    (False, True)
    """
    return basename(path).startswith("test_") or path.endswith("_test.py")


def begins(path: str) -> bool:
    """Return whether a module only begins a package or a program."""
    return basename(path) in ("__init__.py", "__main__.py")


def is_code(path: str) -> bool:
    """Return whether a module is code that is no test."""
    return path.endswith(".py") and not is_test(path)


def is_aside(path: str) -> bool:
    """Return whether a module only shows or measures the code."""
    return path.partition("/")[0] in ASIDE and "/" in path


def are_apart(folder: str, other: str) -> bool:
    """Return whether neither of two folders is the other or in it; all are apart from the top."""
    first, second = f"{folder}/", f"{other}/"
    return (
        folder != other
        and not (folder and second.startswith(first))
        and not (other and first.startswith(second))
    )


def is_hidden(path: str) -> bool:
    """Return whether a path, or a folder of it, has a hidden name."""
    return any(part.startswith(".") for part in path.split("/"))


@lru_cache(maxsize=50_000)
def is_own(path: str) -> bool:
    """Return whether a module is code of the project itself: no test, not hidden, not beside it.

    >>> is_own("shop/cart.py"), is_own(".github/a.py"), is_own("typing_tests/a.py")
    (True, False, False)
    """
    folders = path.split("/")[:-1]
    tests = any(folder.endswith(("_test", "_tests", "-tests")) for folder in folders)
    return is_code(path) and not (tests or is_aside(path) or is_hidden(path))
