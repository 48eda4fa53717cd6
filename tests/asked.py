"""Questions about a repository of many modules, and models that answer them in any order."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.events import ModuleIteration
from backcast.domain.moment import NOW, Moment
from backcast.domain.question_events import AskedSubject
from backcast.domain.spending import Allowance
from backcast.engine.log import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.limits import AskLimits
from backcast.engine.workflow.ask.subject import Subject
from backcast.engine.workflow.ask.task import start
from backcast.engine.workflow.executor import EndedCall, Further, Race, Report, run_calls
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import questions

PROFILE = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
REPOSITORY, TASK = "big", "ask-1"
LIMITS = AskLimits(depth=2, iterations=6, repeats=3, prompt=5_600, answer=300, result=600)
BUDGET = Allowance(calls=60, tokens=300_000)


def module(number: int) -> str:
    return f"pkg{number // 20}/part{number}.py"


def source(number: int) -> str:
    return (
        f'"""Part {number} of the whole."""\n\n\n'
        f"def compute{number}(value: int, factor: int = {number * 7}) -> int:\n"
        f'    """Multiply a value by the factor of part {number}."""\n'
        f"    if value < 0:\n"
        f'        raise ValueError("part {number} takes no negative values")\n'
        f"    return value * factor\n"
    )


def repository(count: int = 200) -> EventStore:
    """A store with a repository of so many modules, outlined."""
    store = EventStore.open("sqlite://")
    facts, blobs = [], []
    from backcast.engine.log.blobs import Blob

    for number in range(count):
        blob = Blob(source(number).encode())
        facts.append(ModuleIteration(module_name=module(number), iteration=1, source=blob.ref))
        blobs.append(blob)
    store.append(REPOSITORY, facts, after=0, blobs=blobs)
    Outlining(store, REPOSITORY).catch_up()
    return store


def subject_of(store: EventStore, moment: Moment = NOW) -> Subject:
    return Subject(store, REPOSITORY, moment, PROFILE, tokenizer_of(PROFILE.tokenizer))


Reply = Mapping[str, Any] | str


class Planner:
    """A model whose reply is a function of the call alone."""

    id = "planner"

    def __init__(
        self, reply: Callable[[Call], Reply], before: Callable[[Call, Limits], None] | None = None
    ) -> None:
        self.reply, self.before = reply, before or (lambda call, limits: None)
        self.asked: list[Call] = []
        self.prompts: dict[tuple[str, int, int], str] = {}
        self.schemas: dict[tuple[str, int, int], Any] = {}

    def complete(
        self, messages: Sequence[Message], limits: Limits, *,
        schema: Mapping[str, Any] | None = None, stop: Sequence[str] = (), call: Call = NOTHING,
    ) -> Completion:  # fmt: skip
        self.asked.append(call)
        key = call.module, call.iteration, call.attempt
        self.prompts[key], self.schemas[key] = messages[-1].content, schema
        self.before(call, limits)
        reply = self.reply(call)
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return Completion(text, sum(len(one.content) for one in messages) // 3, 25, seconds=0.5)


def answer(text: str, *quotes: tuple[str, str]) -> Reply:
    quoted = [{"node": node, "text": line} for node, line in quotes]
    return {"action": "answer", "text": text, "quotes": quoted}


def explores(call: Call) -> Reply:
    """Ask about folders, then about modules in them, side by side; each reads and answers."""
    if call.module == "q":
        if call.iteration == 1:
            return {"action": "list", "under": ""}
        if call.iteration == 2:
            asked = [{"question": f"What is the largest factor of pkg{n}?", "about": ""}
                     for n in range(4)]  # fmt: skip
            return {"action": "ask_many", "questions": asked}
        return answer(
            "1393, of part 199", ("function:pkg9/part199.py::compute199", "return value * factor")
        )
    number = sum(map(ord, call.module)) % 200
    if call.module.count(".") == 1:
        if call.iteration == 1:
            return {"action": "search", "words": f"factor part {number}"}
        if call.iteration == 2:
            asked = [{"question": f"Which factor has part {n}?", "about": f"module:{module(n)}"}
                     for n in (number, (number + 1) % 200, (number + 2) % 200)]  # fmt: skip
            return {"action": "ask_many", "questions": asked}
        return answer(f"about {number * 7}")
    if call.iteration == 1 and call.attempt == 1 and number % 5 == 0:
        return "no JSON at all"
    if call.iteration == 1:
        return {"action": "read", "node": f"module:{module(number)}"}
    return answer(f"{number * 7}", (module(number), f"factor: int = {number * 7}"))


def asking(
    subject: Subject, model: Any, store: EventStore | None = None, *, budget: Allowance = BUDGET,
    limits: AskLimits = LIMITS, text: str = "Which part has the largest factor?",
    concurrency: int = 4, about: str = "", **options: Any,
) -> Asking:  # fmt: skip
    """A question that is asked anew, or gone on with."""
    store = store or EventStore.open("sqlite://")
    if not store.version(TASK):
        start(store, TASK, text, AskedSubject(task=REPOSITORY), limits, about)
    runtime = Runtime(model, "planner", PROFILE, concurrency=concurrency, budget=budget)
    return Asking(store, TASK, runtime, lambda name: subject, runner="me", **options)


def at_random(randomly: random.Random) -> Callable[..., None]:
    """Return what runs calls one after another, of those that are open any next."""

    def run(races: Sequence[Race], report: Report, concurrency: int, further: Further) -> None:
        waiting, running = list(races), list[Race]()
        while waiting or running:
            while waiting and len(running) < concurrency:
                running.append(waiting.pop(0))
            race = running.pop(randomly.randrange(len(running)))
            [call] = race.calls
            from backcast.engine.models.cancelling import Cancellation

            done = call.ask(Cancellation())
            report(EndedCall(call, "answered", randomly.random(), done))
            waiting += further()

    return run


def came_to(store: EventStore) -> dict[str, Any]:
    """What a question came to, whatever the order of its calls."""
    from backcast.projections import fold

    state: questions.State = fold(questions, store.read(TASK))
    prompts: dict[str, list[str]] = {}
    for event in store.read(TASK, types=["CONTEXT_BUILT"]):
        prompts.setdefault(event.fact.data["target"], []).append(event.fact.data["digest"])
    # Seconds are what they are, and no function of anything.
    known = {name: state.questions[name] for name in sorted(state.questions)}
    timeless = {n: o._replace(spent=o.spent._replace(seconds=0.0)) for n, o in known.items()}
    return {"questions": timeless, "steps": dict(state.steps), "prompts": prompts}


def executor(races: Sequence[Race], report: Report, concurrency: int, further: Further) -> None:
    """Run calls as the executor does."""
    run_calls(races, report, concurrency, further)
