"""The names in an outcome that the project had defined before: no model can know those by itself.

They are the functions, methods, classes, constants and attributes of its outlines, but for names of
the language (`__init__`), and for those that the header or the request says already.
"""

import io
import re
import tokenize
from collections.abc import Iterator, Mapping

from backcast.domain.outline import Facets
from backcast.engine.models.likelihood import LineNats, ReadText, by_line
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.steps import ReplayStep
from backcast.projections import dependency_graph

IDENTIFIER = re.compile(r"[^\W\d]\w*")
IMPORTED = ("import", "from")
OPEN = "if 1:\n"
"What stands before an indented text, so that it is read as a block."


class ProjectNames:
    """The names that modules define; each version of a module is looked through once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Facets, frozenset[str]]] = {}
        "By identity, as states share their parts."

    def spans(self, step: ReplayStep, outcome: KnownOutcome) -> tuple[tuple[int, int], ...]:
        """Return where in an outcome such names stand: begin and end, in bytes."""
        said = f"{outcome.header}\n{step.request.query}"
        found = list(_identifiers(outcome.text, code=step.action is None))
        asked = {name for name, _ in found} - set(IDENTIFIER.findall(said))
        modules = dependency_graph.present(step.known.states.graph)
        names = self._defined(modules, {name for name in asked if not _is_language(name)})
        text, place, size = outcome.text, 0, 0
        spans = []
        for name, begin in found:
            if name in names:
                size += _bytes(text[place:begin])
                place = begin
                spans.append((size, size + _bytes(name)))
        return tuple(spans)

    def _defined(self, modules: Mapping[str, Facets], asked: set[str]) -> set[str]:
        found = set[str]()
        for path in modules:
            facets = modules[path]
            known = self._known.get(id(facets))
            if known is None:
                known = self._known[id(facets)] = facets, frozenset(defined_in(facets))
            found |= asked & known[1]
        return found


def defined_in(facets: Facets) -> Iterator[str]:
    """Yield the names that a module defines, some of them several times."""
    for key, texts in facets.items():
        kind, _, name = key.partition(":")
        if kind == "sig":
            yield name.rpartition(".")[2].partition("#")[0]
        elif kind == "name" and texts[:1] and texts[0] not in IMPORTED:
            yield name
        elif kind == "attributes":
            yield from (text.partition("=")[0] for text in texts)


def named(found: ReadText, text: str, spans: tuple[tuple[int, int], ...]) -> tuple[LineNats, ...]:
    r"""Return the tokens and nats of each line that belong to names, which stand at some spans.

    >>> named(ReadText((b"a", b" =", b" total"), (1.0, 2.0, 4.0), 0), "a = total", ((4, 9),))
    (LineNats(tokens=1, nats=4.0),)
    """
    flags, place = list[int](), -found.before
    for piece in found.pieces:
        end = place + len(piece)
        flags.append(any(begin < end and place < stop for begin, stop in spans))
        place = end
    lines = text.count("\n") + 1
    counts = by_line(found.pieces, flags, lines, found.before)
    weighed = [nats * flag for nats, flag in zip(found.nats, flags, strict=True)]
    sums = by_line(found.pieces, weighed, lines, found.before)
    return tuple(
        LineNats(int(count.nats), total.nats) for count, total in zip(counts, sums, strict=True)
    )


def _identifiers(text: str, *, code: bool) -> Iterator[tuple[str, int]]:
    """Yield the identifiers of a text with their places, of code not those of its prose."""
    try:
        found = list(_names_of_code(text)) if code else None
    except (tokenize.TokenError, SyntaxError):
        found = None
    if found is None:
        found = [(match[0], match.start()) for match in IDENTIFIER.finditer(text)]
    yield from found


def _names_of_code(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names of some code; strings and comments have none."""
    front = OPEN if text[:1].isspace() else ""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for token in tokenize.generate_tokens(io.StringIO(front + text).readline):
        row = token.start[0] - 1 - bool(front)
        if token.type == tokenize.NAME and row >= 0:
            yield token.string, starts[row] + token.start[1]


def _is_language(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
