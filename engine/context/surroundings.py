"""What stands around a target in its module: the lines near its place, and those in no function.

Much of what a function is written like stands next to it: whole, in parts, or between functions.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from backcast.engine.context.enclosing_lines import blocks
from backcast.engine.context.evidence import place_of
from backcast.engine.context.loose_code import Functions, loose_code, starts
from backcast.engine.context.module_header import (
    SHARE,
    WORD,
    header_of,
    names_in_module,
    values_of,
)
from backcast.engine.context.request_scope import RequestScope
from backcast.projections import dependency_graph

ABOVE = 2
"Lines above the place for each line below it, as long as there are some."
HEAD = 0.1
"The most that the heads of functions may take, of the lines around the place."


class Excerpt(NamedTuple):
    """Lines around a place, counted from 1."""

    first: int
    "The first line."
    above: int
    "The last line above the place."
    below: int
    "The first line below it."
    last: int
    "The last line; less than `below` where nothing below is shown."

    def holds(self, first: int, last: int) -> bool:
        """Tell whether all of some lines are shown."""
        return self.first <= first <= last <= self.above or self.below <= first <= last <= self.last

    def with_all(self, first: int, last: int) -> "Excerpt":
        """Return these lines with all of some of which they hold the end, the begin or a middle."""
        begin = first if first < self.first <= last else self.first
        end = last if first <= self.last < last else self.last
        return self._replace(first=begin, last=end)

    def text(self, lines: Sequence[str]) -> str:
        """Return the shown lines of a module."""
        shown = [*lines[self.first - 1 : self.above], *lines[self.below - 1 : self.last]]
        return "\n".join(shown).strip("\n")


class Surroundings:
    """What stands around a request's target in its module."""

    def __init__(self, scope: RequestScope) -> None:
        self.scope, self.path, self.name = scope, scope.path, scope.name
        exists = self.path in scope.facets
        self.places: Mapping[str, tuple[int, int]] = (
            dependency_graph.lines_of(scope.states.graph, self.path) if exists else {}
        )
        "The first and last line of each function and class."
        self.place = place_of(self.name, scope.behind, self.places)
        self.text = scope.sources.text(self.path) if exists else ""
        self.counted = scope.counting.lines(self.text)
        self.lines: Sequence[str] = self.counted.lines if exists else ()
        self.excerpt = self._excerpt()
        self.shown = ""
        "What is shown in place of a summary, at the most."

    def levels(self, limit: int) -> Iterator[tuple[str, str]]:
        """Yield the lines around the place with those in no function, then these alone.

        Those in no function have at most `limit` tokens.
        """
        opening = self.scope.policy.opening
        loose = _joined("\n", *self._loose(limit, None)) if opening else ""
        self.shown = loose
        if self.excerpt:
            above, below = self._loose(limit, self.excerpt) if opening else ("", "")
            self.shown = _joined("\n\n", above, self._around(self.excerpt), below)
            yield "part", self.shown
        yield "summary", loose if opening else self.scope.summary(f"module:{self.path}", limit)

    @cached_property
    def functions(self) -> Functions:
        """The functions whose lines are known for sure; none where a text may have moved on."""
        module, facets = self.scope.states.graph.modules[self.path], self.scope.facets[self.path]
        if module.source != module.outlined or "newer" in facets or not self.lines[0]:
            return ()
        found, end = list[tuple[int, int]](), 0
        for first, last, name in sorted((*lines, name) for name, lines in self.places.items()):
            kind = facets.get(f"sig:{name}", ("",))[0]
            if first > end and kind in ("function", "method", "test"):
                found.append((first, last))
                end = last
        # A written outline may be wrong about lines.
        return tuple(found) if end <= len(self.lines) else ()

    def has(self, text: str) -> bool:
        """Tell whether some whole lines are among those that are shown at the most."""
        return f"\n{text}\n" in f"\n{self.shown}\n"

    def overlaps(self, path: str, first: int, last: int) -> bool:
        """Tell whether the lines around the place hold any of some lines of a module."""
        shown = self.excerpt if path == self.path else None
        return shown is not None and first <= shown.last and last >= shown.first

    def _loose(self, limit: int, shown: Excerpt | None) -> tuple[str, str]:
        """Return the lines of the module outside of functions, within some tokens: those above the
        place, and those below it.

        What binds nothing of the project goes first, then what is farthest from the place.
        """
        scope, owner = self.scope, self.name.rpartition(".")[0]
        if scope.policy.in_order:
            most = max(limit, int(SHARE * scope.profile.context)) if limit else 0
            values = names_in_module(values_of(scope), self.path)
            return header_of(
                self.lines, owner, self.place, scope.symbols.tops, values, most, self._tokens,
                shown.holds if shown else lambda first, last: False, self.functions,
                self._near(shown) if scope.policy.used_imports else None,
            )  # fmt: skip
        return loose_code(
            self.text, owner, self.place, scope.symbols.tops,
            lambda part: scope.counting.item("summary", part) <= limit,
            shown.holds if shown else lambda first, last: False,
            self.functions,
        )  # fmt: skip

    def _near(self, shown: Excerpt | None) -> set[str]:
        """Return the words of the lines around the place, and of the target's own."""
        first, last = self.places.get(self.name, (1, 0))
        text = shown.text(self.lines) if shown else ""
        return set(WORD.findall("\n".join([text, *self.lines[first - 1 : last]])))

    def _excerpt(self) -> Excerpt | None:
        """Return the lines around the place of a function, if any are to be shown."""
        scope = self.scope
        share = scope.policy.around
        if not (share and self.name and self.places) or self.path in scope.whole:
            return None
        above, below, size, own = self.place, self.place + 1, len(self.lines), 0
        context, policy = scope.profile.context, scope.policy
        if self.name in self.places:
            above, below = self.place - 1, self.places[self.name][1] + 1
            own = scope.counting.count(scope.sources.piece(self.path, self.name).text)
        limit, most = int(share * (context - own)), int(policy.whole * context) - own
        if policy.whole:
            limit = min(limit, most)
            if self.counted.fit(most + own):
                limit = max(limit, most)
        if limit <= 0:
            return None
        # Where a written outline is wrong about lines, the text ends before they do.
        above, below = min(above, size), min(below, size + 1)
        shown = around(self.lines, above, below, limit, self.counted.size)
        near = shown.first, shown.last + 1
        begins = [*starts(self.text, self.functions, near), len(self.lines) + 1]
        shown = _whole(shown, begins, self.places.values())
        return self._begun(shown) if policy.in_order else shown

    def _begun(self, shown: Excerpt) -> Excerpt:
        """Return lines that begin within no function whose head would take too much."""
        most = HEAD * self.scope.policy.around * self.scope.profile.context
        if sum(map(self._tokens, self._heads(shown))) <= most:
            return shown
        end = max(
            (last for name, (first, last) in self.places.items()
             if first < shown.first <= last and not self._is_class(name)),
            default=0,
        )  # fmt: skip
        return shown._replace(first=min(max(shown.first, end + 1), shown.above + 1))

    def _is_class(self, name: str) -> bool:
        return self.scope.facets[self.path].get(f"sig:{name}", ("",))[0] == "class"

    def _heads(self, shown: Excerpt) -> list[str]:
        """Return the lines of what the lines around the place begin within."""
        owner = self.name.rpartition(".")[0]
        inside = sorted(
            (first, name) for name, (first, last) in self.places.items()
            if first < shown.first <= last and name != owner
        )  # fmt: skip
        # Those of the class around the target stand above already.
        texts, begin = list[str](), self.places.get(owner, (0, 0))[0]
        for first, name in inside:
            signature = self.scope.texts.used(self.path, name).signature
            if self._is_class(name):
                signature = self.scope.sources.piece(self.path, name).signature
            texts += [opening.text for opening in blocks(self.lines, first, begin)]
            texts += [signature, f"{_margin(signature)}    ..."]
            begin = first
        if not inside and shown.first <= len(self.lines):
            texts += [opening.text for opening in blocks(self.lines, shown.first, begin)]
        return texts

    def torn(self, name: str) -> bool:
        """Tell whether the lines around the place hold a part of a function or class alone."""
        return 0 < self.share(self.path, name) < 1

    def mend(self, names: Iterable[str]) -> None:
        """Have the lines around the place hold all of what they hold a part of."""
        for name in names:
            if self.excerpt:
                first, last = self.places[name]
                self.excerpt = self.excerpt.with_all(first, last)

    def share(self, path: str, name: str) -> float:
        """Return how much of a function or class the lines around the place hold, from 0 to 1."""
        shown = self.excerpt if path == self.path else None
        first, last = self.places.get(name, (1, 0))
        if shown is None or last < first:
            return 0.0
        above = min(last, shown.above) - max(first, shown.first) + 1
        below = min(last, shown.last) - max(first, shown.below) + 1
        return (max(0, above) + max(0, below)) / (last - first + 1)

    def _around(self, shown: Excerpt) -> str:
        """Return lines around the place, below the heads of what they begin within."""
        if self.scope.policy.in_order:
            return "\n".join([*self._heads(shown), shown.text(self.lines), *self._end(shown)])
        heads = list[str]()
        inside = {
            name: first for name, (first, last) in self.places.items()
            if first < shown.first <= last and name != self.name.rpartition(".")[0]
        }  # fmt: skip
        for name in sorted(inside, key=inside.__getitem__):
            signature = self.scope.sources.piece(self.path, name).signature
            heads += [signature, f"{_margin(signature)}    ..."]
        size = sum(map(self._tokens, heads))
        if size > HEAD * self.scope.policy.around * self.scope.profile.context:
            heads = []
        return "\n".join([*heads, shown.text(self.lines)])

    def _end(self, shown: Excerpt) -> list[str]:
        """Return the line that tells that a function goes on, where the last one does."""
        cut = [
            first for first, last in self.places.values()
            if shown.below <= shown.last and first <= shown.last < last
        ]  # fmt: skip
        return [f"{_margin(self.lines[max(cut) - 1])}    ..."] if cut else []

    def _tokens(self, line: str) -> int:
        return self.scope.counting.count(line) + 1


def around(
    lines: Sequence[str], above: int, below: int, limit: int, size: Callable[[int], int]
) -> Excerpt:
    """Return lines up to `above` and from `below` on, of at most so many tokens.

    `size` tells the tokens of a line by its place from 0.

    >>> around("abcdefgh", 4, 6, 4, lambda place: 1)
    Excerpt(first=2, above=4, below=6, last=6)
    >>> around("abcdefgh", 0, 1, 3, lambda place: 1).text("abcdefgh")
    'a\\nb\\nc'
    """
    free, first, last, turn = limit, above + 1, below - 1, 0
    while first > 1 or last < len(lines):
        up = first > 1 and (turn % (ABOVE + 1) < ABOVE or last >= len(lines))
        free -= size(first - 2 if up else last)
        if free < 0:
            break
        first, last, turn = (first - 1, last, turn + 1) if up else (first, last + 1, turn + 1)
    return Excerpt(first, above, below, last)


def _whole(shown: Excerpt, begins: Sequence[int], functions: Iterable[tuple[int, int]]) -> Excerpt:
    """Return lines that begin and end with statements, and with functions where that is near.

    `begins` are the lines at which statements begin; `functions` those of functions and classes.
    """
    first = begins[bisect_left(begins, shown.first)]
    behind = begins[bisect_right(begins, shown.last + 1) - 1]
    # A part of a function is shown where all of it would be most of what is shown.
    most = (shown.above - first + 1 + behind - shown.below) // 2
    for begin, end in functions:
        if begin < first <= end <= shown.above and end - begin < most:
            first = max(first, end + 1)
        if shown.below <= begin < behind <= end and end - begin < most:
            behind = min(behind, begin)
    return shown._replace(
        first=min(first, shown.above + 1), last=max(behind - 1, shown.below - 1)
    )  # fmt: skip


def _joined(between: str, *parts: str) -> str:
    return between.join(filter(None, parts))


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
