"""What was written about a node, how long that held, and what came in its place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backcast.domain.events import SummaryWritten, WorkflowEvent
from backcast.domain.staleness import Proof
from backcast.engine.history.staleness import DerivedEntry
from backcast.engine.replay.audit.occurrences import Occurrence
from backcast.projections import summaries
from backcast.projections.summaries import Written, named, outlived

Turns = Sequence[tuple[int, Proof | None]]
"When a summary went stale, with the proof, and when it held again."


@dataclass
class SummaryLife:
    """One summary, and what ended it."""

    written: Written
    who: str
    replaces: int
    "The version of the summary whose place it took; 0 for none."
    replaced: int = 0
    "The version of the summary that took its place; 0 for none."
    superseded: tuple[int, datetime, str] | None = None
    "Where its summariser moved on to another version: event, time, and from which to which."
    turns: list[tuple[int, Proof | None]] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        """Whether the modules that it was built from have moved on, as far as is known."""
        return bool(self.turns) and self.turns[-1][1] is not None


class Summaries:
    """The summaries of one node, gathered from events."""

    def __init__(self, node: str) -> None:
        self.node, self.said = node, list[SummaryLife]()
        self.last_at: datetime | None = None
        self._highest: dict[str, int] = {}
        "The latest version of each summariser."

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event says of the node's summaries."""
        self.last_at = event.timestamp
        match event.fact:
            case SummaryWritten(node=str(node), text=str()) as fact:
                name, number = named(fact.summariser or "")
                self._highest[name] = max(number, self._highest.get(name, number))
                if node == self.node:
                    self._add(event, name)
                for one in self.open:
                    self._supersede(one, event)

    @property
    def open(self) -> list[SummaryLife]:
        """The last of each summariser."""
        return [one for one in self.said if not one.replaced]

    def entries(self) -> list[DerivedEntry]:
        """The summaries as they are asked whether they hold."""
        return [
            DerivedEntry(self.node, w.summariser, w.clock, w.built_at, w.made_of)
            for w in (one.written for one in self.said)
        ]

    def turned(self, turns: Sequence[Turns], holds: Callable[[DerivedEntry], bool]) -> None:
        """Tell when each summary went stale and held again, and whether it holds now."""
        for one, entry, told in zip(self.said, self.entries(), turns, strict=True):
            one.turns = [turn for turn in told if not one.replaced or turn[0] < one.replaced]
            if one.replaced:
                continue
            if one.stale and holds(entry):
                one.turns.append((one.turns[-1][0], None))
            elif not one.stale and not holds(entry):
                # The log does not tell what changed, as when an outline is damaged.
                one.turns = [(one.written.version, Proof(0, (), (), ()))]

    def holding(self, at: datetime | None) -> int:
        """How many summaries hold at a time; None for that of the last event."""
        left = [one for one in self.open if not one.stale and not one.superseded]
        return sum(not outlived(one.written, at or self.last_at) for one in left)

    def occurrences(self, time_of: Callable[[int], datetime | None]) -> Iterator[Occurrence]:
        """What happened to the summaries; `time_of` gives the time of an event, if it is there."""
        for one in self.said:
            w = one.written
            yield Occurrence(
                w.version, w.timestamp, "summarised", w.summariser or one.who, w.text,
                one.replaces, tokens=w.tokens,
            )  # fmt: skip
            for version, proof in one.turns:
                # What had moved on before it was written made it stale from its beginning.
                event = max(version, w.version)
                time = time_of(event) or w.timestamp
                what = "stale" if proof else "holds again"
                told = str(proof) if proof else ""
                yield Occurrence(event, time, what, w.summariser, told, w.version)
            if one.superseded:
                event, time, told = one.superseded
                yield Occurrence(event, time, "superseded", w.summariser, told, w.version)

    def _add(self, event: WorkflowEvent, name: str) -> None:
        written = summaries.evolve(summaries.initial, event).nodes[self.node][-1]
        same = (one for one in self.open if named(one.written.summariser)[0] == name)
        before = next(same, None)
        if before:
            before.replaced = event.version
        self.said.append(
            SummaryLife(written, event.writer, before.written.version if before else 0)
        )

    def _supersede(self, one: SummaryLife, event: WorkflowEvent) -> None:
        name, number = named(one.written.summariser)
        latest = self._highest[name]
        if number < latest and not one.superseded:
            told = f"its summariser {name} moved on from {number} to {latest}"
            one.superseded = event.version, event.timestamp, told
