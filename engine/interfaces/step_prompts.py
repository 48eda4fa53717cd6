"""The prompt of the step to which an event belongs, for the commands that are about one prompt."""

from backcast.domain.events import StepStarted, WorkflowEvent
from backcast.engine.history.commits import is_of_commit
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.terminal import escaped, message
from backcast.engine.log.store import EventStore

PROMPTS = ("CONTEXT_BUILT", "DISPATCH_STARTED")
"Events that hold a prompt."
OF_A_STEP = (
    "STEP_STARTED", "MODEL_REPLIED", "MODEL_FAILED", "ANSWER_REFUSED", "CALL_SETTLED",
    "PLANNING_COMPLETE", "MODULE_ITERATION", "MODULE_DELETED", "MODULE_RENAMED", "CHECKS_RAN",
    "MODULE_OUTLINED", "SUMMARY_WRITTEN", "TOOL_CALLED", "TOOL_RETURNED", "SOURCE_READ",
    "MESSAGE_RECEIVED",
)  # fmt: skip
"""Events that belong to the step in which they happened: how it began, its answer, what that
wrote, its checks, and what a tool returned."""


def at_prompt(place: Place) -> Place:
    """Return a place whose event is a prompt, where it is another event of the step of one.

    What is taken is noted. All other places are returned as they are.
    """
    store, task = place.store, place.task
    if not place.when.isdecimal():
        return place
    number = int(place.when)
    for event in store.read(task, after=number - 1, last=number):
        prompt = prompt_of(store, event)
        if prompt and prompt != number:
            message(
                f"note: event {number} is {event.type}: taken for the prompt of its step,"
                f" {escaped(task)}@{prompt}"
            )
            return place._replace(when=str(prompt))
    return place


def prompt_of(store: EventStore, event: WorkflowEvent) -> int:
    """Return the event that names the prompt of an event's step; 0 for none.

    Where prompts are formed of messages, that is the answer. What an event says of its call or its
    causes counts before the order of the log, since steps may run side by side.
    """
    task, fact = event.task_id, event.fact
    if event.type in PROMPTS:
        return event.version
    if isinstance(dispatch := getattr(fact, "dispatch", None), int):
        return dispatch
    if not any(True for _ in store.read(task, types=[*PROMPTS[:1], "MODEL_REPLIED"])):
        return 0
    if is_of_commit(store, event):
        return 0  # a question about a history may stand beside it
    return _of_call(store, event) or _of_causes(store, event) or _of_order(store, event)


def _of_call(store: EventStore, event: WorkflowEvent) -> int:
    """Return the prompt of the call that an event names."""
    call = getattr(event.fact, "call", None)
    for begun in store.read(event.task_id, after=call - 1, last=call) if call else ():
        if isinstance(begun.fact, StepStarted):
            return begun.fact.again or _first_prompt(store, event.task_id, begun.version)
    return 0


def _first_prompt(store: EventStore, task: str, after: int) -> int:
    following = store.read(task, after=after, types=["CONTEXT_BUILT"])
    return next((event.version for event in following), 0)


def _of_causes(store: EventStore, event: WorkflowEvent) -> int:
    """Return the prompt, or the answer without one, that an event came of, cause by cause."""
    task = event.task_id
    while event.because and (cause := max(event.because)) < event.version:
        before = list(store.read(task, after=cause - 1, last=cause))
        if not before:
            return 0
        if event.type == "MODEL_REPLIED" and before[0].type not in PROMPTS:
            break
        [event] = before
        if event.type in PROMPTS:
            return event.version
    formed = event.type == "MODEL_REPLIED" and not _first_prompt(store, task, 0)
    return event.version if formed else 0


def _of_order(store: EventStore, event: WorkflowEvent) -> int:
    """Return the prompt of the step in which an event stands."""
    from backcast.engine.interfaces.view.sequence import RunSequence

    if event.type not in OF_A_STEP:
        return 0
    sequence = RunSequence(store, event.task_id)
    sequence.read_on()
    asked = sequence.at(event.version).asked
    return asked if asked < event.version or isinstance(event.fact, StepStarted) else 0
