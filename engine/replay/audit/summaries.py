"""The written summaries of a node: how long each held, and what replaced it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from backcast.domain.events import WorkflowEvent
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.staleness import Proof
from backcast.engine.history.staleness import DerivedEntry
from backcast.engine.replay.audit.occurrences import Occurrence
from backcast.projections import summaries
from backcast.projections.summaries import Written, named, outlived

Turns = Sequence[tuple[int, Proof | None]]
"Versions at which a summary went stale, with the proof, or held again, with None."


@dataclass
class SummaryLife:
    """One summary and how it ended."""

    written: Written
    who: str
    replaces: int
    "Version of the summary that it replaced; 0 for none."
    replaced: int = 0
    "Version of the summary that replaced it; 0 for none."
    superseded: tuple[int, datetime, str] | None = None
    "Event and time at which its summariser moved on, and between which versions."
    turns: list[tuple[int, Proof | None]] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        """Whether the modules that it was built from are known to have changed."""
        return bool(self.turns) and self.turns[-1][1] is not None


class Summaries:
    """The summaries of one node, gathered from events."""

    def __init__(self, node: str) -> None:
        self.node, self.lives = node, list[SummaryLife]()
        self.last_at: datetime | None = None
        self._highest: dict[str, int] = {}
        "Latest version of each summariser."

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event says about the node's summaries."""
        self.last_at = event.timestamp
        match event.fact:
            case SummaryWritten(node=str(node), text=str()) as fact:
                name, number = named(fact.summariser or "")
                self._highest[name] = max(number, self._highest.get(name, number))
                if node == self.node:
                    self._add(event, name)
                for life in self.open:
                    self._supersede(life, event)

    @property
    def open(self) -> list[SummaryLife]:
        """The last summary of each summariser."""
        return [one for one in self.lives if not one.replaced]

    def entries(self) -> list[DerivedEntry]:
        """Return the summaries as entries whose staleness can be checked."""
        return [
            DerivedEntry(self.node, w.summariser, w.clock, w.built_at, w.made_of)
            for w in (one.written for one in self.lives)
        ]

    def turned(self, turns: Sequence[Turns], holds: Callable[[DerivedEntry], bool]) -> None:
        """Note when each summary went stale and held again, and whether it `holds` now."""
        for life, entry, own_turns in zip(self.lives, self.entries(), turns, strict=True):
            end = life.replaced or inf
            life.turns = [turn for turn in own_turns if turn[0] < end]
            if life.replaced:
                continue
            if life.stale and holds(entry):
                life.turns.append((life.turns[-1][0], None))
            elif not life.stale and not holds(entry):
                # The log lacks the change, for instance since an outline is damaged.
                life.turns = [(life.written.version, Proof(0, (), (), ()))]

    def holding(self, at: datetime | None) -> int:
        """Return how many summaries hold at a time."""
        current = [life for life in self.open if not life.stale and not life.superseded]
        return sum(not outlived(life.written, at) for life in current)

    def occurrences(self, time_of: Callable[[int], datetime | None]) -> Iterator[Occurrence]:
        """Yield what happened to the summaries; `time_of` gives an event's time if it exists."""
        for life in self.lives:
            summary = life.written
            version, who = summary.version, summary.summariser
            yield Occurrence(
                version, summary.timestamp, "summarised", who or life.who, summary.text,
                life.replaces, tokens=summary.tokens,
            )  # fmt: skip
            for turn, proof in life.turns:
                # A change before it was written made it stale from its beginning.
                event = max(turn, version)
                time = time_of(event) or summary.timestamp
                what = "stale" if proof else "holds again"
                text = str(proof) if proof else ""
                yield Occurrence(event, time, what, who, text, version)
            if life.superseded:
                event, time, text = life.superseded
                yield Occurrence(event, time, "superseded", who, text, version)

    def _add(self, event: WorkflowEvent, name: str) -> None:
        written = summaries.evolve(summaries.initial, event).nodes[self.node][-1]
        earlier = (life for life in self.open if named(life.written.summariser)[0] == name)
        before = next(earlier, None)
        if before:
            before.replaced = event.version
        self.lives.append(
            SummaryLife(written, event.writer, before.written.version if before else 0)
        )

    def _supersede(self, life: SummaryLife, event: WorkflowEvent) -> None:
        name, number = named(life.written.summariser)
        latest = self._highest[name]
        if number < latest and not life.superseded:
            text = f"its summariser {name} moved on from {number} to {latest}"
            life.superseded = event.version, event.timestamp, text
