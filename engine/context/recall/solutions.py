"""Functions and classes of earlier work as candidates: those that may come back in another form.

They are weighed by the same evidence as the project's own, and compete with these for the same
room; but most of what was taken out never comes back, so its weights are others. What the project
has already, equal or nearly so, is no candidate.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from backcast.domain.context import Candidate
from backcast.domain.errors import DamagedError
from backcast.domain.node import Reference
from backcast.engine.context.evidence import DECIMALS, NEAR
from backcast.engine.context.module_symbols import Floats, last_name, symbol_words
from backcast.engine.context.recall.code import EarlierCode, RecalledCode
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.context.sources import SourcePiece

SECTION = "historical patterns"
LOOKED_AT = 32
"Functions and classes whose texts are read: those likest by their outlines."
LEAST = 0.2
"The chance to come back, below which nothing is offered."
SAME = 0.8
"The share of its lines that the project has in a function of that name, from which it is no news."


class RecalledText(NamedTuple):
    """A function or class of earlier work, as it is weighed."""

    code: EarlierCode
    piece: SourcePiece
    chance: float
    "That it comes back."


class Solutions:
    """The earlier work that bears on a request."""

    def __init__(
        self, scope: RequestScope, goals: Mapping[str, float], within: Collection[str] = ()
    ) -> None:
        """`goals` tells how alike the goals of other tasks are to the request; `within` are nodes
        of modules that are offered as a whole."""
        self.scope, self.goals, self.within = scope, goals, within
        self.evidence = scope.evidence()
        self.evidence.gather(("near",))
        self.gone: list[str] = []
        "The nodes of what could not be read any more."

    def all(self) -> Iterator[Candidate]:
        """Yield candidates, the likest first."""
        fading = self.scope.policy.fading
        for number, found in enumerate(self._found()):
            alike = found.chance / (1 + number / fading) if fading else found.chance
            yield self._candidate(found, round(alike, DECIMALS))

    def _found(self) -> Iterator[RecalledText]:
        recalled = self.scope.cache.recalled(self.scope.states)
        if not recalled.codes:
            return
        looked = list[tuple[int, SourcePiece]]()
        seen = set[str]()
        for row in self._likest(recalled):
            code = recalled.codes[row]
            piece = self._piece(code)
            if piece is None or piece.text in seen or self._is_here(code, piece):
                continue
            seen.add(piece.text)
            looked.append((row, piece))
        chances = self._chances(recalled, looked)
        order = sorted(range(len(looked)), key=lambda place: (-chances[place], place))
        nodes = set[str]()
        for place in order:
            row, piece = looked[place]
            code = recalled.codes[row]
            if chances[place] < LEAST or code.node in nodes:
                continue
            nodes.add(code.node)
            yield RecalledText(code, piece, chances[place])

    def _likest(self, recalled: RecalledCode) -> list[int]:
        """Return the rows that are likest by their outlines, the likest first."""
        query = self.evidence.query
        values = self._by_outline(recalled) | {
            "signature words": recalled.by_words(query, "interface"),
            "body words": recalled.by_words(query, "body"),
        }
        # Their texts are not read yet: what is known of their bodies stands for them.
        values["text words"] = values["body words"]
        values["name and text"] = values["like name"] * values["body words"]
        sums = self._weighed(values, len(recalled.codes))
        return list(map(int, np.argsort(-sums, kind="stable")[:LOOKED_AT]))

    def _by_outline(self, recalled: RecalledCode) -> dict[str, Floats]:
        """Return the evidence that names, places and goals give, of (codes)."""
        evidence, numbers, known = self.evidence, recalled.numbers, recalled.known
        size, last = len(recalled.codes), last_name(evidence.asked.target) if evidence.name else ""
        likeness = known.names.likeness(last, np.bincount(numbers["name"]))[numbers["name"]]
        owners = np.bincount(numbers["owner"])
        nameless = known.names.number("")
        owners[nameless : nameless + 1] = 0
        owner = evidence.owner.rstrip(".").rpartition(".")[2]
        alike = known.names.likeness(owner, owners)[numbers["owner"]] if owner else np.zeros(size)
        same = (likeness > 1 - 10**-DECIMALS).astype(float) * bool(last)
        found = {
            "like name": likeness * bool(last), "same name": same, "like class": alike,
            "special": numbers["special"].astype(float),
        }  # fmt: skip
        if parameters := evidence.parameters():
            held = recalled.words("interface").holding([name.lower() for name in parameters])
            found["parameters"] = held[numbers["interface"]] / len(parameters)
        near, place, goal = np.zeros(size), np.zeros(size), np.zeros(size)
        for row, code in enumerate(recalled.codes):
            if code.path == evidence.path:
                near[row] = NEAR / (NEAR + abs(code.first - evidence.place))
                place[row] = float(not evidence.name or code.name == evidence.name)
            goal[row] = self.goals.get(code.task, 0.0)
        exists = np.full(size, float(evidence.asked.target in self.scope.symbols.places))
        return found | {
            "near": near, "same place": place, "same goal": goal, "exists": exists,
        }  # fmt: skip

    def _chances(
        self, recalled: RecalledCode, looked: list[tuple[int, SourcePiece]]
    ) -> list[float]:
        """Return the chance, of some rows, that each text is like what will be written."""
        rows = np.array([row for row, _ in looked], np.int64)
        values = {name: all[rows] for name, all in self._by_outline(recalled).items()}
        texts: dict[str, Callable[[EarlierCode, SourcePiece], str]] = {
            "signature words": lambda code, piece: _outline(code)[0],
            "body words": lambda code, piece: _outline(code)[1],
            "text words": lambda code, piece: piece.text,
        }
        for name, text in texts.items():
            found = [text(recalled.codes[row], piece) for row, piece in looked]
            values[name] = np.array(self.evidence.words_of(name, found))
        values["name and text"] = values["like name"] * values["text words"]
        sums = self._weighed(values, len(looked))
        return list(map(float, np.round(1 / (1 + np.exp(-sums)), DECIMALS)))

    def _weighed(self, values: Mapping[str, Floats], size: int) -> Floats:
        weights = self.scope.policy.recall
        total = np.full(size, float(weights.get("always", 0.0)))
        # In one order, since a sum of floats depends on it.
        for name in sorted(values):
            total += weights.get(name, 0.0) * values[name]
        return total

    def _piece(self, code: EarlierCode) -> SourcePiece | None:
        """Return the text of a function or class; None where it is gone."""
        lines = self.scope.cache.lines
        try:
            own = lines.of(code.source)[code.first - 1 : code.last]
        except (DamagedError, ValueError):
            self.gone.append(self._node(code))
            return None
        piece = lines.piece(own, code.first) if own else None
        return piece if piece and piece.signature else None

    def _is_here(self, code: EarlierCode, piece: SourcePiece) -> bool:
        """Tell whether the project has it, in a function or class of that name."""
        symbols = self.scope.symbols
        number = symbols.known.names.known([last_name(code.node)])
        rows = np.nonzero(np.isin(symbols.numbers["name"], number))[0] if len(number) else ()
        lines = {line.strip() for line in piece.text.split("\n")} - {""}
        for row in rows:
            named = symbols.named[row]
            here = self.scope.sources.piece(named.path, named.name).text.split("\n")
            shared = lines.intersection(line.strip() for line in here)
            if len(shared) >= SAME * len(lines):
                return True
        return False

    def _candidate(self, found: RecalledText, alike: float) -> Candidate:
        scope, (code, piece, chance) = self.scope, found
        head = f"# {self._origin(code)}"
        doc = "".join(code.facets.get("doc", ())[:1])
        brief = f'\n    """{doc}"""' if doc else ""
        texts = [
            ("full", f"{head}\n{piece.text}"),
            ("summary", f"{head}\n{piece.signature}{brief}" if brief else ""),
            ("signature", f"{head}\n{piece.signature}"),
        ]
        worth = scope.policy.recalled
        score = round(worth * chance, DECIMALS)
        module = self._node(code).partition("/")[0] + f"/module:{code.path}"
        return Candidate(
            self._node(code), SECTION, scope.policy.priority(SECTION),
            scope.levels(texts, score, round(worth * alike, DECIMALS)), score,
            (code.stood,) if not code.task else (), piece.place,
            within=module if module in self.within else "", task=code.task,
        )  # fmt: skip

    def _node(self, code: EarlierCode) -> str:
        """Return its own name, since a node of the running task may have the same id."""
        return f"left:{code.task or self.scope.symbols.graph.task_id}/{code.node}"

    def _origin(self, code: EarlierCode) -> str:
        """Tell where a function or class came from, in a line."""
        task = code.task or self.scope.symbols.graph.task_id
        if code.removed:
            place = Reference(f"{task}@{code.stood}", code.path, (code.first, code.last))
        else:
            place = Reference(task, code.path, name=code.name)
        how = "Removed" if code.removed else "Left"
        return f"{how}{f' by earlier task {code.task}' if code.task else ' here'}: {place}"


def _outline(code: EarlierCode) -> tuple[str, str]:
    return symbol_words(code.path, code.name, code.facets)
