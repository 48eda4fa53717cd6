"""The methods that Backcast is measured beside, with the same tokens and the same request.

They see the source modules of the parent's tree, without tests; so does aider. Functions and
methods are shown whole, a class by the lines above its first method. The function that is asked
for is left out: its old text stands in the request.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from scripts.benches.context_bm25 import ranked
from scripts.benches.context_pack import Counting, Pack, Piece
from scripts.benches.context_source import Source, imported
from scripts.benches.context_tasks import Sources, Task
from scripts.benches.context_trees import Repository

VERSION = 4
"A number that grows when a peer would give another context."


class View(NamedTuple):
    """The pieces of a file."""

    bodies: tuple[Piece, ...]
    signatures: tuple[Piece, ...]
    outside: tuple[Piece, ...]
    "The code outside of functions and classes, then these, in their order."


class Parent:
    """The tree before a commit, as the peers see it."""

    def __init__(self, repository: Repository, sources: Sources, task: Task) -> None:
        self.task = task
        self.tree = repository.tree(task.parent)
        self.source = {path: sources.of(oid) for path, oid in self.tree.items()}
        self.view = {path: view_of(path, source) for path, source in self.source.items()}

    def pieces(self, kind: str, paths: Iterable[str]) -> Iterator[Piece]:
        """Yield the pieces of some files, file by file."""
        own = self.task.path, self.task.name
        for path in paths:
            if path in self.view:
                for piece in getattr(self.view[path], kind):
                    if (piece.path, piece.name) != own:
                        yield piece

    @cached_property
    def bodies(self) -> list[Piece]:
        """All whole functions by BM25."""
        return ranked(list(self.pieces("bodies", self.tree)), self.task.request)

    @cached_property
    def signatures(self) -> list[Piece]:
        """All signatures by BM25."""
        return ranked(list(self.pieces("signatures", self.tree)), self.task.request)

    @cached_property
    def skeleton(self) -> list[Piece]:
        """Signatures: of the own file, what it imports, what that imports, and so on."""
        order = [self.task.path]
        for path in order:
            if path in self.source:
                near = imported(path, self.source[path], self.tree)
                order += [module for module in sorted(near) if module not in order]
        order += [path for path in self.tree if path not in order]
        return list(self.pieces("signatures", order))

    @property
    def own(self) -> Iterator[Piece]:
        """The current file from its top on."""
        return self.pieces("outside", [self.task.path])


@lru_cache(12_000)
def view_of(path: str, source: Source) -> View:
    """Return the pieces of a file."""
    bodies, signatures, covered = list[Piece](), list[Piece](), set[int]()
    for symbol in source.symbols.values():
        if symbol.kind == "variable":
            continue
        end = symbol.head if symbol.kind == "class" else symbol.last
        bodies.append(Piece(path, symbol.name, source.between(symbol.above, end).rstrip()))
        signatures.append(Piece(path, symbol.name, source.signature(symbol)))
        covered.update(range(symbol.above, end + 1))
    loose, block = [], list[str]()
    for number, line in enumerate([*source.lines, ""], 1):
        if number not in covered and line.strip() and number <= len(source.lines):
            block.append(line)
        elif block:
            loose.append(Piece(path, f"line {number}", "\n".join(block)))
            block = []
    return View(tuple(bodies), tuple(signatures), (*loose, *bodies))


def _half(after: Callable[[Parent], Sequence[Piece]]) -> Callable[[Parent, Pack], None]:
    def fill(parent: Parent, pack: Pack) -> None:
        pack.fill(parent.own, pack.tokens // 2)
        pack.fill(after(parent))

    return fill


METHODS: dict[str, Callable[[Parent, Pack], None]] = {
    "current file": lambda parent, pack: pack.fill(parent.own),
    "BM25, bodies": lambda parent, pack: pack.fill(parent.bodies),
    "BM25, signatures": lambda parent, pack: pack.fill(parent.signatures),
    "half file + BM25 bodies": _half(lambda parent: parent.bodies),
    "half file + imports": _half(lambda parent: parent.skeleton),
}


def context(method: str, parent: Parent, counting: Counting, tokens: int) -> str:
    """Return the context by a method."""
    pack = Pack(counting, tokens)
    METHODS[method](parent, pack)
    return pack.text()
