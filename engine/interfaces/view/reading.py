"""What is asked of a log for a page: its prompts, what each was worth, its texts."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from backcast.domain.allocation import LOWER, OVER
from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BackcastError, DamagedError
from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import Moment
from backcast.engine.context.builder import APART
from backcast.engine.context.recorded import profile_of
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.moments import position_of
from backcast.engine.history.snapshots import RecentStates, states_of
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.view.sequence import RunSequence
from backcast.engine.log.store import EventStore
from backcast.engine.replay.blame import Blame, KnownPrompts, blame
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.steps import KnownState, RecordedPrompt, ReplayStep, asked
from backcast.engine.replay.used import Used, showing, used
from backcast.engine.replay.verify import DIFFERENT, SAME, derivation, rebuilt_answer
from backcast.projections import dependency_graph, online_cache, progress, summaries, versions

ON_PAGE = (progress, versions, online_cache, dependency_graph, summaries)
"Projections that the panel of a moment shows."
T = TypeVar("T")
BLAMED = 4
"Missed nodes of a prompt of which it is found out why they are out."
LETTERS = 50_000_000
"Letters of texts that are held for searching."
HELD, HELD_LETTERS = 4_096, 60_000_000
"Answers that are held at once, and the letters of those that are texts."


class ItemRank(NamedTuple):
    """Why an item stands in a prompt."""

    priority: str
    score: float
    because: tuple[int, ...]


class PromptFigures(NamedTuple):
    """What is computed of a recorded prompt."""

    rebuilt: str
    "same, different, or cannot be told; with the reason."
    derived: str
    ranks: tuple[ItemRank | None, ...]
    "Of each recorded item; None where today's code does not show it."
    omitted_used: tuple[bool, ...]
    "Of each recorded omission, whether the accepted code then used it, and nothing showed it."
    used: int
    "Things that the accepted code used, and that were known."
    missed: tuple[str, ...]
    "The nodes among them that the prompt did not show by more than their names."
    accepted: bool
    "Whether something came of the prompt that can be looked at."
    named: tuple[str, ...] = ()
    "Those of the missed nodes of which it showed the bare name."
    within: tuple[bool, ...] = ()
    "Of each recorded omission, whether its signature or text stands in what is shown."
    headings: int | None = None
    "About the tokens of the headings over what is known; None where that cannot be told."
    blames: tuple[Blame, ...] = ()
    "Why those of the missed nodes that were offered are out."


class RunReader:
    """A reader of one task for a page; what it once found it holds."""

    def __init__(self, store: EventStore, task: str) -> None:
        self.store, self.task = store, task
        self.sequence = RunSequence(store, task)
        self.pool = BuilderPool(store)
        self.recent = RecentStates()
        self.states = StateShelf(self)
        self.computed: dict[int, PromptFigures] = {}
        "Figures that were computed before, by the events of their prompts."
        self._lowered: dict[str, str] = {}
        self._letters = 0
        self._held: OrderedDict[object, object] = OrderedDict()
        self._held_letters = 0

    def held(self, key: object, make: Callable[[], T]) -> T:
        """Return what was made under a key, or make it."""
        if key not in self._held:
            made = self._held[key] = make()
            self._held_letters += _letters(made)
            while len(self._held) > HELD or self._held_letters > HELD_LETTERS:
                _, dropped = self._held.popitem(last=False)
                self._held_letters -= _letters(dropped)
            return made
        self._held.move_to_end(key)
        return cast(T, self._held[key])

    def event(self, version: int) -> WorkflowEvent | None:
        """Return an event; None where it is damaged or was never there."""
        return next(self.store.read(self.task, after=version - 1, last=version), None)

    def moment(self, version: int) -> Moment:
        """Return the moment of an event."""
        if version <= 0:
            return Moment(position=0)
        return Moment(position=position_of(self.store, self.task, version))

    def text(self, ref: str | None) -> str:
        """Return a body as a text; where it is gone, that it is."""
        if ref is None:
            return ""
        try:
            return self.store.get(ref).decode(errors="replace")
        except (DamagedError, ValueError) as error:
            return f"[this text cannot be read: {error}]"

    def lowered(self, ref: str) -> str:
        """Return a body as a text that is searched, whatever the letters' case."""
        if ref in self._lowered:
            return self._lowered[ref]
        text = self.text(ref).casefold()
        if self._letters + len(text) <= LETTERS:
            self._lowered[ref] = text
            self._letters += len(text)
        return text

    def prompts(self) -> dict[int, RecordedPrompt]:
        """Return the task's own prompts by their events."""
        key = "prompts", self.store.version(self.task)
        return self.held(key, lambda: {one.version: one for one in asked(self.store, self.task)})

    def profile(self, fact: ContextBuilt) -> ModelProfile | None:
        """Return the profile of a recorded prompt; None where the log does not tell it."""
        try:
            return profile_of(self.store.get(fact.profile)) if fact.profile else None
        except (BackcastError, ValueError):
            return None

    def policy_name(self, fact: ContextBuilt) -> str:
        """Return the name of a prompt's policy; empty where the log does not tell it."""

        def name() -> str:
            try:
                return self.pool.settings(fact)[1].name if fact.policy else ""
            except (BackcastError, ValueError):
                return ""

        return self.held(("policy", fact.policy), name)

    def figures(self, version: int) -> PromptFigures | None:
        """Return what is computed of the prompt of an event; None where it has no digest."""
        if version in self.computed:
            return self.computed[version]
        prompt = self.prompts().get(version)
        if prompt is None:
            return None
        return self.held(
            ("figures", version, prompt.accepted), lambda: self.figures_of(self._step(prompt))
        )

    def step(self, version: int) -> ReplayStep | None:
        """Return the prompt of an event with what was known; None where it is none."""
        prompt = self.prompts().get(version)
        return None if prompt is None else self._step(prompt)

    def figures_of(self, step: ReplayStep) -> PromptFigures:
        """Return what is computed of a step's prompt."""
        fact = step.built or ContextBuilt()
        derived, context = derivation(self.pool, step, fact)
        ranks = {
            (item.node, item.section): ItemRank(item.priority, item.score, item.because)
            for item in (context.items if context else ())
        }
        things = used(step)
        shows = showing(cast(Context, fact))  # it reads nodes, levels and reasons alone
        missed = tuple(thing.node for thing in things if not shows(thing))
        shown = [str(rebuilt_answer(self.store, fact)), str(derived)]
        levels = {item.node: item.level for item in fact.items}
        offered = {omission.node for omission in fact.omissions}
        headings, blames = None, list[Blame]()
        if context is not None and derived.verdict == SAME:
            known = [item for item in context.items if item.section not in APART]
            headings = self.pool.recorded(fact).estimate(known)
            headings -= sum(item.tokens for item in known)
            past = KnownPrompts(self.prompts().values(), self.step)
            blames = [blame(self.pool, step, node, past)
                      for node in missed[:BLAMED] if node in offered]  # fmt: skip
        return PromptFigures(
            shown[0], shown[1],
            tuple(ranks.get((item.node, item.section)) for item in fact.items),
            tuple(omission.node in missed for omission in fact.omissions),
            len(things), missed,
            step.after is not step.known or bool(step.opened),
            tuple(node for node in missed if levels.get(node) == "name"),
            tuple(omission.reason in (OVER, LOWER) and shows(Used("symbol", omission.node))
                  for omission in fact.omissions),
            headings,
            tuple(blames),
        )  # fmt: skip

    def _step(self, prompt: RecordedPrompt) -> ReplayStep:
        known = self._known(prompt.stood_at).asked(prompt.at)
        after = known if prompt.accepted == prompt.stood_at else self._known(prompt.accepted)
        return ReplayStep(
            self.task, prompt.version, prompt.name, prompt.request, prompt.fact, known, after,
            prompt.opened,
        )  # fmt: skip

    def _known(self, version: int) -> KnownState:
        self.states.read_on()
        if version in self.states.known:
            return self.states.known[version]
        states = states_at(self.store, self.task, self.moment(version), self.recent)
        return KnownState(states, dependency_graph.graph_of(states.graph))


class StateShelf:
    """The states that a task's prompts stood on, each event read once; they share their parts."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._follower = TaskFollower(reader.store, reader.task)
        self.known: dict[int, KnownState] = {}
        self._places: list[int] = []

    def read_on(self) -> None:
        """Read up to the last prompt, and hold what each prompt stood on and led to."""
        prompts = self._reader.prompts().values()
        stops = {place for one in prompts for place in (one.stood_at, one.accepted)}
        for stop in sorted(stops - self.known.keys()):
            if stop < self._follower.version:
                continue  # a prompt that names an earlier place: it is asked of the store
            self._follower.read_on(stop)
            self.known[stop] = KnownState(self._follower.states, self._follower.graph)
            self._places.append(stop)

    def moment(self, version: int) -> list[Any]:
        """Return the states of `ON_PAGE` at an event: from the nearest that are held."""
        reader, moment = self._reader, self._reader.moment(version)
        place = bisect_right(self._places, version) - 1
        if place < 0:
            return list(states_of(reader.store, ON_PAGE, reader.task, moment, reader.recent))
        stop = self._places[place]
        known = self.known[stop].states
        first, folded = reader.sequence.versions_at(min(stop, version))
        states: list[Any] = [known.progress, folded, known.online, known.graph, known.summaries]
        for event in reader.store.read(reader.task, after=min(first, stop), last=version):
            for at, projection in enumerate(ON_PAGE):
                if event.version > (first if at == 1 else stop):
                    states[at] = projection.evolve(states[at], event)
        return states


def _letters(found: object) -> int:
    return len(found) if isinstance(found, str) else 0


def badge(answer: str) -> str:
    """Return the word on an answer: same, different, or untold."""
    return next((word for word in (SAME, DIFFERENT) if answer.startswith(word)), "untold")
