"""What stands in the notes of a question, by arm: nothing, the map, what was said before, what a
search finds, or a playbook that a model writes. All have the same tokens."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from backcast.domain.context_map import Tokens, plain, rendered, within
from backcast.domain.events import MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.context.search import Document, search_words
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.asking import asked
from backcast.engine.memory.mapping.cartographer import normal_form
from backcast.engine.memory.mapping.runs import texts_of
from backcast.engine.memory.mapping.trajectory import trajectory
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models import Call, Limits, Message, Model
from backcast.projections.context_map import ContextMap, edited, ranked
from scripts.benches.trial_run import Cost, Outcome
from scripts.benches.trial_world import World, cut

ANSWER = 1_500
RECORD = 3_000
"Tokens of a run, as a model reads it."


@dataclass(frozen=True)
class Given:
    """What every arm is given."""

    world: World
    model: Model
    count: Tokens
    tokens: int
    "Of the notes."
    log: EventStore
    settings: MapSettings


class Arm(ABC):
    """One way to make notes."""

    name = ""

    def __init__(self, given: Given) -> None:
        self.given, self.cost = given, Cost()
        self.start()

    def start(self) -> None:  # noqa: B027  # most have nothing to begin with
        """What is there before the first question."""

    @abstractmethod
    def notes(self, question: str) -> str:
        """What stands above a question."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027  # nor do all learn
        """Take in what came of a question; what a model is asked for that is paid in `cost`."""

    def run(self, outcome: Outcome) -> FinishedRun:
        """A question as a finished run."""
        world, text = self.given.world, texts_of(self.given.log)
        return FinishedRun("", world.state, world.state, world.graph, outcome.events, text)


class Nothing(Arm):
    """No notes."""

    name = "no map"

    def notes(self, question: str) -> str:
        """None."""
        return ""


class ByRules(Arm):
    """The map as events and rules keep it: no model is asked."""

    name = "map, by rules"
    role: tuple[str, str] = ("events", "rules")

    def start(self) -> None:
        """The map that the code itself makes."""
        given = self.given
        distiller, cartographer = self.role
        roles = {"distiller": distiller, "cartographer": cartographer}
        settings = given.settings.model_copy(update=roles)
        self.keeping = MapUpdater.of(settings, given.tokens, given.count, given.model)
        self.map = ContextMap(given.world.task)
        world = given.world
        self._update(FinishedRun("start", world.state, world.state, world.graph), "start")

    def notes(self, question: str) -> str:
        """The map, within its tokens."""
        items = ranked(self.map, self.keeping.settings)
        return rendered(within(items, self.given.tokens, self.given.count))

    def learn(self, outcome: Outcome) -> None:
        """Read the run."""
        self._update(self.run(outcome), outcome.events[0].task_id)

    def _update(self, run: FinishedRun, task: str) -> None:
        update = self.keeping.update(self.map, run)
        if update is None:
            return
        self.map, log = edited(self.map, update.fact), self.given.log
        name = f"{self.name}: map"
        log.append(name, [update.fact], after=log.version(name), blobs=update.blobs)
        self._pay(update.fact)

    def _pay(self, fact: MapEdited) -> None:
        for one in fact.answers:
            said = self.given.log.get(one.text).decode(errors="replace") if one.text else ""
            self.cost.add(one.prompt_tokens or 0, one.tokens or self.given.count(said))


class ByModel(ByRules):
    """The map as a model reads the runs and draws it."""

    name = "map, by model"
    role = ("model", "model")


class History(Arm):
    """What was asked, seen and answered before, the newest last."""

    name = "shared history"

    def start(self) -> None:
        """Nothing was said yet."""
        self.said: list[str] = []

    def notes(self, question: str) -> str:
        """As much of it as has room."""
        kept, left = list[str](), self.given.tokens
        for one in reversed(self.said):
            left -= self.given.count(f"{one}\n")
            if left < 0:
                break
            kept.insert(0, one)
        return "\n".join(kept)

    def learn(self, outcome: Outcome) -> None:
        """Keep what was said."""
        record = trajectory(self.run(outcome), RECORD, self.given.count)
        told = ", ".join(outcome.answers) or "nothing"
        text = f"Asked: {outcome.question.text}\n{record}\nAnswered: {told}"
        self.said.append(cut(text, self.given.tokens // 2, self.given.count))


class Retrieval(Arm):
    """What is told of the code that a question's words fit."""

    name = "retrieval"

    def notes(self, question: str) -> str:
        """The best found, as many as have room."""
        documents = {one.id: one for one in self.given.world.documents}
        kept, left = list[str](), self.given.tokens
        for hit in search_words(self.given.world.documents, question, 20):
            found: Document = documents[hit.id]
            text = f"{found.id}\n{found.text}"
            if (size := self.given.count(f"{text}\n")) <= left:
                left -= size
                kept.append(text)
        return "\n".join(kept)


class _Form(BaseModel):
    """An answer of a model."""

    model_config = ConfigDict(extra="ignore")


_F = TypeVar("_F", bound=_Form)


class Reflection(_Form):
    """What a model makes of a run."""

    insight: str
    helpful: tuple[int, ...] = ()
    harmful: tuple[int, ...] = ()


class Additions(_Form):
    """What a model adds to its playbook."""

    bullets: tuple[str, ...]


class Playbook(Arm):
    """A playbook in the manner of ACE: one call reflects on a run and counts which bullets helped,
    another adds bullets; nothing is ever rewritten, and the least helpful have no room."""

    name = "playbook"

    def start(self) -> None:
        """It is empty."""
        self.bullets: list[str] = []
        self.counts = Counter[int]()

    def notes(self, question: str) -> str:
        """The most helpful bullets, as many as have room."""
        kept, left = list[int](), self.given.tokens
        for number in sorted(range(len(self.bullets)), key=lambda one: (-self.counts[one], one)):
            left -= self.given.count(f"{self._line(number)}\n")
            if left < 0:
                break
            kept.append(number)
        return "\n".join(map(self._line, sorted(kept)))

    def _line(self, number: int) -> str:
        return f"{number + 1}. {self.bullets[number]}"

    def learn(self, outcome: Outcome) -> None:
        """Reflect, then add."""
        record = trajectory(self.run(outcome), RECORD, self.given.count)
        known = self.notes(outcome.question.text) or "It is empty."
        told = f"# Playbook\n\n{known}\n\n# Run\n\n{record}"
        numbers = {"type": "array", "items": {"type": "integer"}, "maxItems": 20}
        text = {"type": "string", "maxLength": 300}
        shape = {"insight": text, "helpful": numbers, "harmful": numbers}
        seen = self._asked(REFLECT, told, Reflection, shape)
        if seen is None:
            return
        for one in seen.helpful:
            self.counts[one - 1] += 1
        for one in seen.harmful:
            self.counts[one - 1] -= 1
        told += f"\n\n# Insight\n\n{plain(seen.insight, 300)}"
        bullets = {"bullets": {"type": "array", "items": text, "maxItems": 3}}
        added = self._asked(ADD, told, Additions, bullets)
        there = {normal_form(one) for one in self.bullets}
        for bullet in added.bullets[:3] if added else ():
            if (said := plain(bullet, 300)) and normal_form(said) not in there:
                self.bullets.append(said)

    def _asked(
        self, system: str, told: str, form: type[_F], shape: Mapping[str, object]
    ) -> _F | None:
        schema = {"type": "object", "properties": shape, "required": list(shape),
                  "additionalProperties": False}  # fmt: skip
        messages = [Message("system", system), Message("user", told)]
        call = Call(kind="playbook", module=form.__name__)
        found, answers, _ = asked(self.given.model, messages, Limits(ANSWER), form, schema, call)
        prompt = sum(self.given.count(one.content) for one in messages)
        for one in answers:
            self.cost.add(one.prompt_tokens or prompt, one.tokens or self.given.count(one.text))
        return found


REFLECT = """\
You reflect on a run over a code base: what went well, what went wrong, and which numbered bullets \
of the playbook helped or harmed. Answer in JSON: insight, helpful, harmful."""
ADD = """\
You keep a playbook for runs over one code base. Add bullets that the insight calls for and that \
do not stand there yet: facts about the code base, or how to go about it. Answer in JSON: \
bullets."""

ARMS: dict[str, type[Arm]] = {
    one.name: one for one in (Nothing, ByRules, ByModel, History, Retrieval, Playbook)
}
