"""A question about a log as commands ask it, go on with it, and report it."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backcast.domain.errors import BackcastError, InputError, ModelError, MomentError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.running import INTERRUPTED, runtime_of
from backcast.engine.interfaces.terminal import escaped, escaped_lines, message, say

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.domain.question_events import AskedSubject
    from backcast.engine.history.address import Address
    from backcast.engine.log.store import EventStore
    from backcast.engine.workflow.runtime import Runtime
    from backcast.projections.questions import FoundAnswer, ShownQuote

RUN_ONLY = {
    "policy_name": None, "out": None, "alternatives": (), "reuse": None, "kept_prefixes": "256",
    "warm": "shared",
}  # fmt: skip
"Options of a run that a question does not have."


class AskedTo(NamedTuple):
    """A log that a question is about, open."""

    store: "EventStore"
    task: str
    moment: "Moment"


def question_of(store: "EventStore", task: str) -> "AskedSubject | None":
    """Return what a task's question is about; None where the task answers none."""
    from backcast.domain.question_events import QuestionAsked

    for event in store.read(task, last=2):
        if isinstance(event.fact, QuestionAsked):
            return event.fact.subject
    return None


def ask(address: "Address", text: str, url: str, options: dict[str, Any]) -> None:
    """Ask a question about what an address names, and report the answer."""
    from backcast.domain.question_events import AskedSubject
    from backcast.engine.interfaces.addresses import task_at
    from backcast.engine.interfaces.options import opened
    from backcast.engine.interfaces.outlining import need_outlines
    from backcast.engine.workflow.ask.limits import BUDGET, limits_for
    from backcast.engine.workflow.ask.task import start

    with ExitStack() as stack:
        place = stack.enter_context(task_at(address, url))
        moment = place.outlined()
        if moment.position is not None:
            try:
                need_outlines(place.store, place.task, moment)
            except MomentError as error:
                message(f"note: {error}")
        version = place.store.version_at(place.task, moment)
        at = moment.at.isoformat() if moment.at else ""
        subject = AskedSubject(
            task=place.task, log=_whole(place.log), when=place.when, version=version, at=at
        )
        subject = AskedSubject(
            **{k: v for k, v in subject.model_dump().items() if v or k == "task"}
        )
        store = stack.enter_context(opened(url, create=True))
        task = options["task"] or _name(subject, text, options["about"])
        known = _moment(place.store, subject)
        about = options["about"]
        runtime = runtime_of({**RUN_ONLY, **options}, store, task)
        runtime = runtime._replace(budget=runtime.budget or BUDGET)
        asked = AskedTo(place.store, place.task, known)
        if about:
            about = _view(asked, runtime).node(about).node
        start(store, task, text, subject, limits_for(runtime.profile, options["depth"]), about)
        _work(store, task, asked, runtime, as_json=options["as_json"])


def go_on(store: "EventStore", task: str, options: dict[str, Any]) -> None:
    """Go on with a question that was cut off."""
    subject = question_of(store, task)
    assert subject is not None
    with asked_to(store, subject) as asked:
        runtime = runtime_of(options, store, task)
        _work(store, task, asked, runtime, as_json=options["as_json"])


def _whole(log: str) -> str:
    """Return the name of a log by which it is found from everywhere."""
    return str(Path(log).resolve()) if log and Path(log).exists() else log


def _name(subject: "AskedSubject", text: str, about: str) -> str:
    """Return the task of a question: the same one for the same question about the same moment."""
    stated = [subject.task, subject.log, subject.version, subject.at, " ".join(text.split()), about]
    return f"ask-{sha256(json.dumps(stated).encode()).hexdigest()[:8]}"


@contextmanager
def asked_to(store: "EventStore", subject: "AskedSubject") -> Iterator[AskedTo]:
    """Open the log that a question is about, as of its moment."""
    from backcast.engine.history.address import Address
    from backcast.engine.interfaces.addresses import log_at

    with ExitStack() as stack:
        other = store
        if subject.log:
            named = Address(subject.log, subject.task, "")
            other = stack.enter_context(log_at(named, "")).store
        other.require(subject.task)
        yield AskedTo(other, subject.task, _moment(other, subject))


def _moment(store: "EventStore", subject: "AskedSubject") -> "Moment":
    from datetime import datetime

    from backcast.domain.moment import Moment
    from backcast.engine.history.moments import position_of

    at = datetime.fromisoformat(subject.at) if subject.at else None
    if at is not None or not subject.version:
        # A time holds what happened by then, in the order of recording up to now.
        return Moment(None if subject.version else 0, at)
    return Moment(position_of(store, subject.task, subject.version))


def _view(asked: AskedTo, runtime: "Runtime") -> Any:
    from backcast.engine.models.tokenizers import tokenizer_of
    from backcast.engine.workflow.ask.subject import Subject

    counter = tokenizer_of(runtime.profile.tokenizer)
    return Subject(asked.store, asked.task, asked.moment, runtime.profile, counter)


def _work(
    store: "EventStore", task: str, asked: AskedTo, runtime: "Runtime", *, as_json: bool
) -> None:
    """Work on a question until it has an answer, and say what came of it."""
    from backcast.engine.workflow.ask.asking import Asking

    stopped = ""
    try:
        subject = _view(asked, runtime)
        Asking(store, task, runtime, lambda name: subject).work()
    except ModelError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "interrupted"
    print_answer(store, task, as_json=as_json, stopped=stopped)
    if stopped:
        message(f"stopped: {escaped(stopped)[:400]}")
        message(f"'backcast resume {task}' goes on from here")
        sys.exit(INTERRUPTED if stopped == "interrupted" else 1)
    if not _answer(store, task).text:
        sys.exit(1)


def _answer(store: "EventStore", task: str) -> "FoundAnswer":
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import questions

    state: questions.State = state_at(store, questions, task)
    found = state.questions[questions.FIRST].answer
    return found or questions.FoundAnswer(complete=False, reason="it has no answer yet")


def print_answer(
    store: "EventStore", task: str, *, as_json: bool = False, stopped: str = "", url: str = ""
) -> None:
    """Print the answer of a task's question, with its quotes, and which of them have moved since.

    `InputError` where the task answers none.
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import questions, spending

    subject = question_of(store, task)
    if subject is None:
        raise InputError(f"task {task!r} answers no question: 'backcast ask' asks one")
    state: questions.State = state_at(store, questions, task)
    answer, spent = _answer(store, task), state_at(store, spending, task).spent
    moved = moved_since(store, subject, answer.quotes)
    if as_json:
        quotes = [
            quote._asdict() | {"moved": moved.get(place, "")}
            for place, quote in enumerate(answer.quotes)
        ]
        first = state.questions[questions.FIRST]
        result = {
            "task_id": task, "question": first.text, "about": first.about,
            "subject": subject.model_dump(), "answer": answer.text, "complete": answer.complete,
            "unproven": answer.unproven, "reason": stopped or answer.reason, "stale": bool(moved),
            "quotes": quotes,
            "questions": len(state.questions), **spent._asdict(),
        }  # fmt: skip
        say(json_text(result))
        return
    if answer.text:
        say(escaped_lines(answer.text))
    if answer.unproven:
        say(f"  (unproven: {escaped(answer.unproven)})")
    for place, quote in enumerate(answer.quotes):
        mark = "" if quote.proven else f"  (not proven: {quote.reason})"
        later = f"  (STALE: {moved[place]})" if place in moved else ""
        say(escaped(f'  {quote.node}: "{" ".join(quote.text.split())}"{mark}{later}'))
    for line in _notes(task, answer, moved, stopped=bool(stopped)):
        message(line)
    several = "1 question" if len(state.questions) == 1 else f"{len(state.questions)} questions"
    calls = "1 call" if spent.calls == 1 else f"{spent.calls} calls"
    message(
        f"{task}: {several}, {calls}, {spent.tokens:,} tokens, {spent.seconds:.1f} s;"
        f" 'backcast log {task} --tree' shows them"
    )


def _notes(
    task: str, answer: "FoundAnswer", moved: dict[int, str], *, stopped: bool
) -> Iterator[str]:
    if not answer.text and not stopped:
        yield f"no answer: {escaped(answer.reason)}"
    elif not answer.complete and not stopped:
        yield f"no more than a best effort: {escaped(answer.reason)}"
    if moved:
        yield f"stale: {len(moved)} of its {len(answer.quotes)} quotes have moved since; ask again"


def moved_since(
    store: "EventStore", subject: "AskedSubject", quotes: "tuple[ShownQuote, ...]"
) -> dict[int, str]:
    """Return how the sources of some quotes stand now that have moved, by the quote's place."""
    from backcast.domain.budget import MISTRAL_7B_8K
    from backcast.domain.moment import NOW
    from backcast.engine.models.tokenizers import UpperBound
    from backcast.engine.workflow.ask.subject import Subject

    found = dict[int, str]()
    if not any(quote.digest for quote in quotes):
        return found
    try:
        with asked_to(store, subject) as asked:
            now = Subject(asked.store, asked.task, NOW, MISTRAL_7B_8K, UpperBound())
            for place, quote in enumerate(quotes):
                if quote.digest and (why := _moved(now, quote)):
                    found[place] = why
    except BackcastError as error:
        message(f"note: whether its sources have moved cannot be told: {error}")
    return found


def _moved(now: Any, quote: "ShownQuote") -> str:
    try:
        node = now.node(quote.node)
    except InputError:
        return "it is not there any more"
    if node.digest == quote.digest:
        return ""
    still = not now.quoted(quote.node, quote.text)[1]
    holds = "it still holds this text" if still else "it does not hold this text any more"
    return f"changed since by event {node.version}; {holds}"
