"""The notes above a question, by arm, all with the same tokens.

An arm writes nothing, the map, the earlier answers, the hits of a search, or a model's playbook.
"""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from backcast.domain.context_map import Tokens, plain, rendered, within
from backcast.domain.memory_events import MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.context.search import search_words
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.asking import fill_in
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
"The tokens of a run for a model to read."


@dataclass(frozen=True)
class Given:
    """The circumstances of every arm."""

    world: World
    model: Model
    count: Tokens
    tokens: int
    "The most tokens of the notes."
    log: EventStore
    settings: MapSettings


class Arm(ABC):
    """One way to make notes."""

    name = ""

    def __init__(self, given: Given) -> None:
        self.given, self.cost = given, Cost()
        self.start()

    def start(self) -> None:  # noqa: B027  # most have nothing to begin with
        """Prepare for the first question."""

    @abstractmethod
    def notes(self, question: str) -> str:
        """Return the notes above a question."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027  # nor do all learn
        """Learn from an outcome; the model's tokens for it are added to `cost`."""

    def run(self, outcome: Outcome) -> FinishedRun:
        """Return a question as a finished run."""
        world, text = self.given.world, texts_of(self.given.log)
        return FinishedRun("", world.state, world.state, world.graph, outcome.events, text)


class Nothing(Arm):
    """An arm without notes."""

    name = "no map"

    def notes(self, question: str) -> str:
        """Return nothing."""
        return ""


class ByRules(Arm):
    """An arm with a map that events and rules keep: no model is asked."""

    name = "map, by rules"
    role: tuple[str, str] = ("events", "rules")

    def start(self) -> None:
        """Make the map of the code itself."""
        given = self.given
        distiller, cartographer = self.role
        roles = {"distiller": distiller, "cartographer": cartographer}
        settings = given.settings.model_copy(update=roles)
        self.updater = MapUpdater.of(settings, given.tokens, given.count, given.model)
        self.map = ContextMap(given.world.task)
        world = given.world
        self._update(FinishedRun("start", world.state, world.state, world.graph), "start")

    def notes(self, question: str) -> str:
        """Return the map, within its tokens."""
        items = ranked(self.map, self.updater.settings)
        return rendered(within(items, self.given.tokens, self.given.count))

    def learn(self, outcome: Outcome) -> None:
        """Update the map by the run."""
        self._update(self.run(outcome), outcome.events[0].task_id)

    def _update(self, run: FinishedRun, task: str) -> None:
        update = self.updater.update(self.map, run)
        if update is None:
            return
        self.map, log = edited(self.map, update.fact), self.given.log
        name = f"{self.name}: map"
        log.append(name, [update.fact], after=log.version(name), blobs=update.blobs)
        self._pay(update.fact)

    def _pay(self, fact: MapEdited) -> None:
        for answer in fact.answers:
            text = self.given.log.get(answer.text).decode(errors="replace") if answer.text else ""
            self.cost.add(answer.prompt_tokens or 0, answer.tokens or self.given.count(text))


class ByModel(ByRules):
    """An arm with a map that a model draws from the runs."""

    name = "map, by model"
    role = ("model", "model")


class History(Arm):
    """An arm with the earlier questions, looks and answers, the newest last."""

    name = "shared history"

    def start(self) -> None:
        """Begin without any."""
        self.records: list[str] = []

    def notes(self, question: str) -> str:
        """Return the newest records that fit."""
        kept, room = list[str](), self.given.tokens
        for record in reversed(self.records):
            room -= self.given.count(f"{record}\n")
            if room < 0:
                break
            kept.insert(0, record)
        return "\n".join(kept)

    def learn(self, outcome: Outcome) -> None:
        """Keep a record of the question."""
        record = trajectory(self.run(outcome), RECORD, self.given.count)
        answers = ", ".join(outcome.answers) or "nothing"
        text = f"Asked: {outcome.question.text}\n{record}\nAnswered: {answers}"
        self.records.append(cut(text, self.given.tokens // 2, self.given.count))


class Retrieval(Arm):
    """An arm with the summaries of the code that a search for the question finds."""

    name = "retrieval"

    def notes(self, question: str) -> str:
        """Return the best hits that fit."""
        texts = {one.id: one.text for one in self.given.world.documents}
        kept, room = list[str](), self.given.tokens
        for hit in search_words(self.given.world.documents, question, 20):
            text = f"{hit.id}\n{texts[hit.id]}"
            if (size := self.given.count(f"{text}\n")) <= room:
                room -= size
                kept.append(text)
        return "\n".join(kept)


class _Form(BaseModel):
    """An answer of a model."""

    model_config = ConfigDict(extra="ignore")


_F = TypeVar("_F", bound=_Form)


class Reflection(_Form):
    """A model's reflection on a run."""

    insight: str
    helpful: tuple[int, ...] = ()
    harmful: tuple[int, ...] = ()


class Additions(_Form):
    """A model's additions to its playbook."""

    bullets: tuple[str, ...]


class Playbook(Arm):
    """An arm with a playbook in the manner of ACE.

    One call reflects on a run and counts which bullets helped, another adds bullets; nothing is
    ever rewritten, and the least helpful have no room.
    """

    name = "playbook"

    def start(self) -> None:
        """Begin with an empty playbook."""
        self.bullets: list[str] = []
        self.counts = Counter[int]()

    def notes(self, question: str) -> str:
        """Return the most helpful bullets that fit."""
        kept, room = list[int](), self.given.tokens
        for number in sorted(range(len(self.bullets)), key=lambda n: (-self.counts[n], n)):
            room -= self.given.count(f"{self._line(number)}\n")
            if room < 0:
                break
            kept.append(number)
        return "\n".join(map(self._line, sorted(kept)))

    def _line(self, number: int) -> str:
        return f"{number + 1}. {self.bullets[number]}"

    def learn(self, outcome: Outcome) -> None:
        """Reflect, then add."""
        record = trajectory(self.run(outcome), RECORD, self.given.count)
        known = self.notes(outcome.question.text) or "It is empty."
        prompt = f"# Playbook\n\n{known}\n\n# Run\n\n{record}"
        numbers = {"type": "array", "items": {"type": "integer"}, "maxItems": 20}
        text = {"type": "string", "maxLength": 300}
        shape: dict[str, object] = {"insight": text, "helpful": numbers, "harmful": numbers}
        reflection = self._asked(REFLECT, prompt, Reflection, shape)
        if reflection is None:
            return
        for number in reflection.helpful:
            self.counts[number - 1] += 1
        for number in reflection.harmful:
            self.counts[number - 1] -= 1
        prompt += f"\n\n# Insight\n\n{plain(reflection.insight, 300)}"
        shape = {"bullets": {"type": "array", "items": text, "maxItems": 3}}
        added = self._asked(ADD, prompt, Additions, shape)
        known_forms = {normal_form(bullet) for bullet in self.bullets}
        for raw in added.bullets[:3] if added else ():
            if (bullet := plain(raw, 300)) and normal_form(bullet) not in known_forms:
                self.bullets.append(bullet)

    def _asked(self, system: str, user: str, form: type[_F], shape: dict[str, object]) -> _F | None:
        """Ask the model for an answer of a form; its tokens are added to `cost`."""
        schema = {"type": "object", "properties": shape, "required": list(shape),
                  "additionalProperties": False}  # fmt: skip
        messages = [Message("system", system), Message("user", user)]
        call = Call(kind="playbook", module=form.__name__)
        value, answers, _ = fill_in(self.given.model, messages, Limits(ANSWER), form, schema, call)
        prompt = sum(self.given.count(message.content) for message in messages)
        for answer in answers:
            tokens = answer.tokens or self.given.count(answer.text)
            self.cost.add(answer.prompt_tokens or prompt, tokens)
        return value


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
