"""Which first entries can a map of code have without asking a model?

Entries are read off facets and keep their digests: an entry is known to be out of date when one of
them changes. The graph and a score for each node choose where to look. So an entry proves that the
things it names exist, as it says; it cannot say that there are no others: a new module, a new
import or a better example makes no entry stale.
"""

from collections.abc import Mapping

from backcast.domain import roadmap_lines as lines
from backcast.domain.context_map import MORE, MapEntry, plain
from backcast.domain.graph import Graph
from backcast.domain.layout import Layout
from backcast.domain.outline import Facets
from backcast.domain.reader import Reader
from backcast.domain.summary import built_from

LINE = 240
"Characters of an entry: about 80 tokens."
ROADMAP, UNDERSTANDING = "CONTEXT ROADMAP", "CONTEXT UNDERSTANDING"


def roadmap(
    modules: Mapping[str, Facets], graph: Graph, rank: Mapping[str, float]
) -> list[MapEntry]:
    """Return the entries, the most worthwhile first.

    `rank` tells by node how much it matters; missing nodes do not matter.
    """
    layout = Layout(modules, graph, rank)
    central = [lines.central(path) for path in layout.central[: lines.CENTRAL]]
    first = _entry(layout, lines.purpose, UNDERSTANDING, "what it is all for")
    modules_first = [_entry(layout, write, ROADMAP, "much depends on it") for write in central]
    rest = [_entry(layout, write, ROADMAP, why) for write, why in _LINES]
    return [entry for entry in (first, *modules_first, *rest) if entry]


def _entry(layout: Layout, write: lines.Writer, section: str, why: str) -> MapEntry | None:
    """Return one writer's parts as an entry of one line; None if it has none."""
    reader = Reader(layout.modules)
    head, parts = write(layout, reader)
    texts, nodes = list[str](), dict[str, None]()
    for part in parts:
        if len(head + "; ".join([*texts, part.text])) > LINE - len(MORE) - 2:
            texts.append(MORE)
            break
        texts.append(part.text)
        nodes.update(dict.fromkeys(part.nodes))
    if not nodes:
        return None
    text = plain(head + "; ".join(texts), LINE)
    return MapEntry(section, text, tuple(nodes), built_from(reader), why)


_LINES: tuple[tuple[lines.Writer, str], ...] = (
    (lines.folders, "where things stand"),
    (lines.imports, "what depends on what"),
    (lines.tests, "where to look for how it should work"),
    (lines.programs, "where programs begin"),
    (lines.examples, "how it is used"),
    (lines.concepts, "where a thing with another name is"),
)
"The writers of the other entries, the most worthwhile first, and why each helps."
