"""Functions and classes of earlier work as candidates: those that may come back in another form.

They are weighed by the same evidence as the project's own, and compete with these for the same
room; but most of what was taken out never comes back, so its weights are others. What the project
has already, equal or nearly so, is no candidate.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
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
LOOKED_AT = 16
"Functions and classes whose texts are read: those likest by their outlines."
WEIGHED = (
    "like name", "same name", "like class", "special", "parameters", "near", "same place",
    "same goal", "exists", "signature words", "body words", "text words", "name and text", "always",
)  # fmt: skip
"The evidence that is gathered for them; other weights of `recall` change nothing."
LEAST = 0.2
"The chance to come back, below which nothing is offered."
NEWS_LOOKED_AT, NEWS_LIKE = 4, 0.7
"""Functions of other tasks whose news are looked for, and how well a text has to answer the request
beside the best of the project."""
NEWS_WORTH, NEWS_TOKENS = 0.3, 160
"The worth of such lines where they answer best, and about how many tokens of them are offered."
SAME = 0.8
"The share of its lines that the project has in a function of that name, from which it is no news."


class RecalledText(NamedTuple):
    """A function or class of earlier work, as it is weighed."""

    code: EarlierCode
    piece: SourcePiece
    chance: float
    "That it comes back."
    news: str = ""
    "The lines that the project has not, where only these are offered."


class Solutions:
    """The earlier work that bears on a request."""

    def __init__(
        self, scope: RequestScope, goals: Mapping[str, float], within: Collection[str] = ()
    ) -> None:
        """`goals` tells how alike the goals of other tasks are to the request; `within` are nodes
        of modules that are offered as a whole."""
        self.scope, self.goals, self.within = scope, goals, within
        self.evidence = scope.evidence()
        self.values: Mapping[str, Floats] = {}
        "The evidence of outlines, of (codes)."
        self.texts: list[float] = []
        "How well the texts that were looked at answer the request; the best of all is 1."
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
        self.evidence.gather(("near",))
        looked, here = list[tuple[int, SourcePiece]](), set[int]()
        kept = list[tuple[str, Set[str]]]()
        # Of nearly equal ones the newest counts: of the latest task, and what still stands there.
        order = {row: number for number, row in enumerate(self._likest(recalled))}
        codes = recalled.codes

        def age(row: int) -> tuple[int, bool, int]:
            code = codes[row]
            return recalled.places[code.task], code.removed > 0, -code.stood

        for row in sorted(order, key=age):
            code = codes[row]
            piece = self._piece(code)
            if piece is None:
                continue
            if self._is_here(code, piece):
                if not (code.task and self.scope.policy.news):
                    continue
                here.add(row)
            name, lines = last_name(code.node), _lines(piece.text)
            if not any(name == other and _nearly(lines, known) for other, known in kept):
                kept.append((name, lines))
                looked.append((row, piece))
        looked.sort(key=lambda pair: order[pair[0]])
        chances = self._chances_of(recalled, looked) if looked else []
        offered = 0
        for place in sorted(range(len(looked)), key=lambda place: (-chances[place], place)):
            row, piece = looked[place]
            if chances[place] >= LEAST and row not in here:
                yield RecalledText(codes[row], piece, chances[place])
            elif offered < self.scope.policy.news and self.texts[place] >= NEWS_LIKE:
                news = self._news(codes[row], piece) if self._was_here(codes[row]) else ""
                if news:
                    offered += 1
                    worth = NEWS_WORTH * self.texts[place]
                    yield RecalledText(codes[row], piece, max(chances[place], worth), news)

    def _likest(self, recalled: RecalledCode) -> list[int]:
        """Return the rows that may come back by what their outlines say, the likest first."""
        self.values, size = self._by_outline(recalled), len(recalled.codes)
        most = dict.fromkeys(("signature words", "body words", "text words"), np.ones(size))
        most["name and text"] = self.values["like name"]
        likely = _chances(self._weighed(self.values | most, size)) >= LEAST
        others = np.array([bool(code.task) for code in recalled.codes])
        asked = likely | others if self.scope.policy.news else likely
        if not asked.any():
            return []
        query = self.evidence.query
        bodies = recalled.by_words(query, "body")
        known = {
            "signature words": recalled.by_words(query, "interface"), "body words": bodies,
            # Their texts are not read yet: what is known of their bodies stands for them.
            "text words": bodies, "name and text": self.values["like name"] * bodies,
        }  # fmt: skip
        sums = self._weighed(self.values | known, size)
        rows = np.nonzero(likely)[0]
        order = list(map(int, rows[np.argsort(-sums[rows], kind="stable")][:LOOKED_AT]))
        if self.scope.policy.news:
            rows = np.nonzero(others)[0]
            more = rows[np.argsort(-sums[rows], kind="stable")][:NEWS_LOOKED_AT]
            order += [row for row in map(int, more) if row not in order]
        return order

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
        for row in recalled.by_path.get(evidence.path, ()):
            code = recalled.codes[row]
            near[row] = NEAR / (NEAR + abs(code.first - evidence.place))
            place[row] = float(not evidence.name or code.name == evidence.name)
        for task, rows in recalled.by_task.items() if self.goals else ():
            goal[rows] = self.goals.get(task, 0.0)
        exists = np.full(size, float(evidence.asked.target in self.scope.symbols.places))
        return found | {
            "near": near, "same place": place, "same goal": goal, "exists": exists,
        }  # fmt: skip

    def _chances_of(
        self, recalled: RecalledCode, looked: list[tuple[int, SourcePiece]]
    ) -> list[float]:
        """Return the chance, of some rows and their texts, that each comes back."""
        rows = np.array([row for row, _ in looked], np.int64)
        values = {name: all[rows] for name, all in self.values.items()}
        outlines = [symbol_words(code.path, code.name, code.facets.get)
                    for code in (recalled.codes[row] for row in rows)]  # fmt: skip
        texts = {
            "signature words": [interface for interface, _ in outlines],
            "body words": [body for _, body in outlines],
            "text words": [piece.text for _, piece in looked],
        }
        for name, found in texts.items():
            values[name] = np.array(self.evidence.words_of(name, found))
        values["name and text"] = values["like name"] * values["text words"]
        self.texts = list(map(float, values["text words"]))
        return list(map(float, _chances(self._weighed(values, len(looked)))))

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
        lines = _lines(piece.text)
        return any(_nearly(lines, _lines(text)) for text in self._namesakes(code))

    def _namesakes(self, code: EarlierCode) -> Iterator[str]:
        """Yield the texts of the project's functions and classes with the last name of one."""
        symbols = self.scope.symbols
        number = symbols.known.names.known([last_name(code.node)])
        rows = np.nonzero(np.isin(symbols.numbers["name"], number))[0] if len(number) else ()
        for row in rows:
            named = symbols.named[row]
            yield self.scope.sources.piece(named.path, named.name).text

    def _was_here(self, code: EarlierCode) -> bool:
        """Tell whether the code of another task is in a module that the project has, or had: only
        then are its lines here no more."""
        return bool(code.task) and code.path in self.scope.states.graph.modules

    def _news(self, code: EarlierCode, piece: SourcePiece) -> str:
        """Return the lines of a text that neither a function or class of that name nor the target's
        module has, those likest to the request where there are many; empty for none."""
        known = set(_lines(self.scope.sources.text(self.scope.path))) if self.scope.path else set()
        for text in self._namesakes(code):
            known |= _lines(text)
        runs = fresh_runs(piece, known)
        texts, count = ["\n".join(run) for run in runs], self.scope.counting.count
        likeness = self.evidence.words_of("text words", texts)
        order = sorted(range(len(runs)), key=lambda place: (-likeness[place], place))
        chosen, free = list[int](), NEWS_TOKENS
        for place in order:
            free -= count(texts[place])
            if chosen and free < 0:
                break
            chosen.append(place)
        return "\n".join(_with_gaps(runs, sorted(chosen)))

    def _candidate(self, found: RecalledText, alike: float) -> Candidate:
        scope, (code, piece, chance, news) = self.scope, found
        head = f"# {self._origin(code)}"
        doc = "".join(code.facets.get("doc", ())[:1])
        brief = f'\n    """{doc}"""' if doc else ""
        worth = scope.policy.recalled
        score, alike = round(worth * chance, DECIMALS), round(worth * alike, DECIMALS)
        if news:
            first, *more = piece.signature.split("\n")
            named = f"{first} ..." if len(more) > 1 else piece.signature
            part = f"{head}; lines that are here no more:\n{named}\n{news}"
            levels = scope.levels.of_part(part, score, alike)
        else:
            levels = scope.levels([
                ("full", f"{head}\n{piece.text}"),
                ("summary", f"{head}\n{piece.signature}{brief}" if brief else ""),
                ("signature", f"{head}\n{piece.signature}"),
            ], score, alike)  # fmt: skip
        module = self._node(code).partition("/")[0] + f"/module:{code.path}"
        return Candidate(
            self._node(code), SECTION, scope.policy.priority(SECTION),
            levels, score, (code.stood,) if not code.task else (), piece.place,
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


def fresh_runs(piece: SourcePiece, known: Set[str]) -> list[list[str]]:
    """Return the lines of a function's code that are not known, those together that stood so;
    docstrings and comments are no code."""
    lines = piece.text.split("\n")
    head = _head(lines, piece.signature)
    runs, last = list[list[str]](), -1
    for number in range(head + _docstring(lines[head:]), len(lines)):
        line = lines[number].strip()
        if len(line) > 1 and line not in known and not line.startswith("#"):
            if not runs or any(map(str.strip, lines[last + 1 : number])):
                runs.append([])
            runs[-1].append(lines[number])
            last = number
    return runs


def _head(lines: Sequence[str], signature: str) -> int:
    """Return how many lines of a text its decorators and its signature take."""
    shown = signature.split("\n")
    end = shown[-1].strip()
    found = (number for number, line in enumerate(lines, 1) if line.strip().startswith(end))
    return next(found, len(shown))


def _docstring(lines: Sequence[str]) -> int:
    """Return how many lines the docstring takes with which a function's lines begin."""
    first = lines[0].strip() if lines else ""
    quote = next((mark for mark in ('"""', "'''") if mark in first[:5]), "")
    if not quote:
        return 0
    if first.count(quote) > 1:
        return 1
    return next((n + 1 for n, line in enumerate(lines) if n and quote in line), 0)


def _with_gaps(runs: Sequence[Sequence[str]], chosen: Sequence[int]) -> Iterator[str]:
    for number, place in enumerate(chosen):
        first = runs[place][0]
        if number:
            yield f"{first[: len(first) - len(first.lstrip())]}..."
        yield from runs[place]


def _chances(sums: Floats) -> Floats:
    chances: Floats = np.round(1 / (1 + np.exp(-sums)), DECIMALS)
    return chances


def _lines(text: str) -> Set[str]:
    return {line.strip() for line in text.split("\n")} - {""}


def _nearly(lines: Set[str], others: Set[str]) -> bool:
    """Tell whether some lines bring next to nothing that others do not have."""
    return len(lines & others) >= SAME * len(lines)
