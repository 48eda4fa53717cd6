"""How is a repository built? Its folders, what each holds, and which one imports from which."""

from collections import Counter
from collections.abc import Iterator, Mapping
from posixpath import basename, dirname
from typing import NamedTuple

from backcast.domain.layout import Layout
from backcast.domain.outline import names_in
from backcast.domain.paths import is_aside, is_hidden, is_own


class FolderPart(NamedTuple):
    """A folder of code, or all tests or all that stands beside the code in a folder at the top."""

    folder: str
    "Empty for the top."
    kind: str
    "code, tests or aside."
    modules: int
    classes: int
    functions: int
    tests: int
    imports: tuple[tuple[str, int], ...]
    "Other folders of code and how many imports of theirs there are, the most first."
    needed: tuple[tuple[str, int], ...]
    "Its modules that others of the code import, and how many those are, the most first."

    @property
    def is_bare(self) -> bool:
        """Whether nothing is defined in it, and nothing leads out of it or into it."""
        return not (self.classes + self.functions + self.tests) and not (
            self.imports or self.needed
        )


def architecture(layout: Layout) -> list[FolderPart]:
    """Return the folders that hold modules: those of the code by path, then tests and others."""
    members: dict[tuple[int, str, str], list[str]] = {}
    for path in layout.paths:
        if path.endswith(".py") and not is_hidden(path):
            members.setdefault(_place(path), []).append(path)
    needed = _needed(layout)
    return [
        _part(layout, place[2], place[1], paths, needed) for place, paths in sorted(members.items())
    ]


def _place(path: str) -> tuple[int, str, str]:
    """Return the order, kind and folder of the part that a module belongs to."""
    top = path.partition("/")[0] if "/" in path else ""
    if is_aside(path):
        return 2, "aside", top
    return (0, "code", dirname(path)) if is_own(path) else (1, "tests", top)


def _needed(layout: Layout) -> Counter[str]:
    """Return how many modules of the code import each one."""
    own = filter(is_own, layout.code)
    return Counter(other for path in own for other in layout.imports[path] if other != path)


def _part(
    layout: Layout, folder: str, kind: str, paths: list[str], needed: Mapping[str, int]
) -> FolderPart:
    kinds = Counter(kind for path in paths for kind in _kinds(layout, path))
    imports = Counter(
        dirname(other)
        for path in paths
        for other in layout.imports[path]
        if _place(other)[1] == "code" and (kind != "code" or dirname(other) != folder)
    )
    most = sorted(
        (path for path in paths if needed.get(path)), key=lambda path: (-needed[path], path)
    )
    return FolderPart(
        folder, kind, len(paths), kinds["class"], kinds["function"] + kinds["method"],
        kinds["test"], tuple(sorted(imports.items(), key=lambda pair: (-pair[1], pair[0]))),
        tuple((basename(path), needed[path]) for path in most) if kind == "code" else (),
    )  # fmt: skip


def _kinds(layout: Layout, path: str) -> Iterator[str]:
    facets = layout.modules[path]
    yield from ((facets[f"sig:{name}"] or ("function",))[0] for name in names_in(facets))
