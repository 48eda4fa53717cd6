"""A task of an open store, what was known of it at any moment, and its prompts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Protocol

from backcast.domain.budget import ModelProfile
from backcast.domain.context_events import ContextItem, ContextOmission
from backcast.domain.errors import InputError
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import Policy
from backcast.engine.context.policies import policy_named
from backcast.engine.context.recorded import context_at, messages
from backcast.engine.context.request import Request
from backcast.engine.history.commits import changed
from backcast.engine.history.late_outlines import with_late_outlines
from backcast.engine.history.maps import map_at_commit
from backcast.engine.history.moments import LAST
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_of
from backcast.engine.history.staleness import Stale, stale
from backcast.engine.history.task import TaskHandle, When
from backcast.engine.history.task_states import TaskStates, states_at
from backcast.engine.interfaces.named_nodes import node_asked
from backcast.engine.interfaces.profiles import RECORDED, profile_by
from backcast.engine.interfaces.testing.replayed import Replayed, replayed
from backcast.engine.interfaces.view.notebook import BudgetParts, NotebookContext, prompt_html
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Message
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.find import names_change, prompt_at, step_at
from backcast.engine.replay.pairs import context_of
from backcast.engine.replay.steps import RecordedPrompt, asked
from backcast.engine.replay.verify import Verdict, verified
from backcast.projections import (
    Projection,
    changes,
    checks,
    dependency_graph,
    offline_cache,
    online_cache,
    progress,
    prompts,
    questions,
    summaries,
    versions,
)
from backcast.projections.context_map import ContextMap

QUERY = 120
"Characters of a change's words that an error repeats."


class OpenedStore(Protocol):
    """What a task needs of the store that holds it."""

    events: EventStore
    name: str


class Task(TaskHandle):
    """A task of a store: its events, its prompts, and what was known at any moment of it.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     till = store.task("till")
    ...     till.version, len(till.prompts()), till.at("first").progress.status
    (185, 34, 'started')
    """

    def __init__(self, store: OpenedStore, id: str) -> None:
        super().__init__(store.events, id)
        self.opened = store

    def at(self, when: When = NOW) -> "Known":
        """Return what was known at a moment: an event number, a time, `commit:SHA`, ..."""
        map = map_at_commit(self.store, self.id, when) if isinstance(when, str) else None
        return Known(self, self.moment(when), map, when)

    def prompt(self, when: str | int = LAST) -> "Prompt":
        """Return the prompt that was recorded as an event, `first`, `last`, or last by a time.

        `InputError` where none was, as in a history: then it tells how to build one.
        """
        recorded = asked(self.store, self.id)
        is_history = not recorded and bool(changed(self.store, self.id))
        if is_history or names_change(self.store, self.id, str(when)):
            raise InputError(self._of_change(str(when)))
        if not recorded:
            raise InputError(
                f"task {self.id!r}: needed recorded prompts, found none: task.at(WHEN).build(NODE)"
                " builds one"
            )
        return Prompt(self, prompt_at(self.store, self.id, str(when)))

    def _of_change(self, when: str) -> str:
        """Tell how the prompt for a change of a history is built."""
        step = step_at(self.store, self.id, when)
        query = shorten(step.request.query, QUERY, placeholder=" ...")
        return (
            f"{self.id}@{when}: needed a recorded prompt, found a change, which asks for one:"
            f" task.at({step.version - 1}).build({step.request.target!r}, {query!r}) builds it"
        )

    def prompts(self) -> "list[Prompt]":
        """Return the recorded prompts, in the order in which they were asked for."""
        return [Prompt(self, prompt) for prompt in asked(self.store, self.id)]

    def replay(self, policy: Policy | str | None = None) -> Iterator[Replayed]:
        """Yield each recorded prompt as it is built today, for the assertions below."""
        return replayed(self.store, self.id, None if policy is None else policy_meant(policy))

    def verify(self) -> list[Verdict]:
        """Rebuild each recorded prompt, and derive it again; `holds` is true where both agree."""
        return list(verified(self.store, self.id))


class Known:
    """The knowledge of a task at a moment, folded when it is asked for.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     then = store.task("till").at(100)
    ...     then.progress.status, then.source("money.py#to_cents").splitlines()[0]
    ('generating', 'def to_cents(text: str) -> int:')
    """

    def __init__(
        self, task: Task, moment: Moment, map: ContextMap | None = None, when: When = NOW
    ) -> None:  # fmt: skip
        """`map` stands for the map that was known then, as at a commit; `when` names the moment."""
        self.task, self.moment, self._map, self._when = task, moment, map, when
        self._states: TaskStates | None = None

    def state(self, projection: Projection) -> Any:
        """Return the state of any projection at the moment."""
        return state_at(self.task.store, projection, self.task.id, self.moment)

    @property
    def states(self) -> TaskStates:
        """All states that prompts are built from; see `backcast.projections`."""
        if self._states is None:
            Outlining(self.task.store, self.task.id).catch_up()
            states = states_at(self.task.store, self.task.id, self.moment)
            states = with_late_outlines(self.task.store, self.task.id, self.moment, states)
            self._states = states if self._map is None else states._replace(map=self._map)
        return self._states

    def __repr__(self) -> str:
        when: object = self._when
        if isinstance(when, Moment):
            position = None if when.position is None else f"position {when.position}"
            when = ", ".join(str(part) for part in (position, when.at) if part) or LAST
        return f"<known {self.task.id}@{when}>"

    @property
    def progress(self) -> progress.State:
        """How far the task has come, and what it is waiting for."""
        return self.states.progress

    @property
    def versions(self) -> versions.State:
        """Which version of each module is the latest, and who wrote it."""
        state: versions.State = self.state(versions)
        return state

    @property
    def graph(self) -> dependency_graph.State:
        """Which modules, functions and tests there are, and what needs what."""
        return self.states.graph

    @property
    def summaries(self) -> summaries.State:
        """What was written about each node, and from which versions."""
        return self.states.summaries

    @property
    def online(self) -> online_cache.State:
        """What is in hand for the task."""
        return self.states.online

    @property
    def offline(self) -> offline_cache.State:
        """What finished tasks have left."""
        return self.states.offline

    @property
    def prompts(self) -> prompts.State:
        """What the last prompt showed."""
        return self.states.prompts

    @property
    def changes(self) -> changes.State:
        """Which modules change together, and which of late."""
        return self.states.changes

    @property
    def checks(self) -> checks.State:
        """What the last runs of checks said of each module."""
        return self.states.checks

    @property
    def questions(self) -> questions.State:
        """Which questions were asked of the code, and what came of them."""
        return self.states.questions

    @property
    def map(self) -> ContextMap:
        """The orientation knowledge on the task's map."""
        return self.states.map

    if not TYPE_CHECKING:  # to whom any name would be one

        def __getattr__(self, name: str) -> Any:
            known = ", ".join(n for n, found in vars(Known).items() if isinstance(found, property))
            raise AttributeError(f"no {name!r} is known; there are {known}")

    def source(self, path: str) -> str:
        """Return a module's text as it was: `money.py`, `money.py#to_cents`, `money.py#L1-L9`."""
        from backcast.domain.node import parse_reference

        reference = parse_reference(f"storage://task/{path}")._replace(task_id=self.task.id)
        return text_of(self.task.store, reference, self.moment).decode(errors="replace")

    def stale(self) -> list[Stale]:
        """Return the written summaries that no longer hold, each with its proof."""
        return stale(self.task.store, self.task.id, self.moment)

    def build(
        self, node: str = "", query: str = "", *, policy: Policy | str | None = None,
        profile: ModelProfile | str = "mistral-7b-8k",
    ) -> NotebookContext:  # fmt: skip
        """Return the context that a model would be shown for a request: `node` is a path, or as
        in `function:money.py::share`; `query` says in words what is to be done.

        `InputError` for a node or policy that there is not, and for a policy that weighs meaning
        where no embedder is; `BudgetExceededError` where what must be shown does not fit.

        Texts that have no outline yet are outlined first, which appends to the log; what was known
        at the moment, and so the context, is the same before and after.
        """
        store, id = self.task.store, self.task.id
        Outlining(store, id).catch_up()
        request = Request(node_asked(node, query, store, id, self.moment), query)
        chosen = policy_meant(policy or "default")
        window = profile_by(profile, None, None) if isinstance(profile, str) else profile
        built = context_at(store, id, self.moment, request, window, chosen, self._map)
        return NotebookContext.of(built)


class Prompt:
    """A recorded prompt, to the byte.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     prompt = store.task("till").prompt(79)
    ...     prompt.name, prompt.messages[0].role, prompt.items[-1].node
    ('code orders.py #2', 'system', 'task:till')
    """

    def __init__(self, task: Task, recorded: RecordedPrompt) -> None:
        self.task, self.recorded = task, recorded

    def __repr__(self) -> str:
        return f"<prompt {self.task.id}@{self.event} {self.name}>"

    def _repr_html_(self) -> str:
        fact = self.recorded.fact
        window = self.pool.settings(fact)[0]
        sections = list(fact.sections.items())
        parts = BudgetParts(self.tokens, window.window, window.generation, sections)
        title = f"{self.task.id}@{self.event} {self.name}"
        return prompt_html(title, parts, self.items, self.omissions)

    @property
    def event(self) -> int:
        """The number of its event."""
        return self.recorded.version

    @property
    def name(self) -> str:
        """The request in a few words: `code orders.py #2`."""
        return self.recorded.name

    @property
    def messages(self) -> list[Message]:
        """The messages as the model saw them, rebuilt from the recorded texts."""
        rebuilt = messages(self.recorded.fact, self.task.store.get)
        return [Message(role, text) for role, text in rebuilt]

    @property
    def tokens(self) -> int:
        """The tokens of the rendered prompt, as they were counted then."""
        return self.recorded.fact.tokens or 0

    @property
    def digest(self) -> str:
        """SHA-256 of the rendered prompt, in hex."""
        return self.recorded.fact.digest or ""

    @property
    def items(self) -> Sequence[ContextItem]:
        """The things that it shows, in order.

        Each has `node` (`function:money.py::share`), `section`, `level` (name, signature, summary,
        part or full), `tokens` (of its text, as counted then), `found` (online, offline or made),
        `task` (the other one that left it), `text` (the blob's name: `store.events.get(text)`).
        """
        return self.recorded.fact.items

    @property
    def omissions(self) -> Sequence[ContextOmission]:
        """The things that it leaves out, with the reasons."""
        return self.recorded.fact.omissions

    def under(self, policy: Policy | str | Path) -> NotebookContext:
        """Return this prompt as another policy builds it, from what was known when it was asked
        for; `backcast.diff` compares the two. "recorded" is its own policy.

        `InputError` for a policy that there is not, one that weighs meaning where no embedder is,
        and a prompt that Backcast did not build; `BudgetExceededError`, with both numbers, where
        what must be shown does not fit.

        >>> import backcast
        >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
        ...     prompt = store.task("till").prompt(79)
        ...     prompt.under("recorded").digest == prompt.digest, prompt.policy.name
        (True, 'default')
        """
        pool, step = self.pool, step_at(self.task.store, self.task.id, str(self.event))
        chosen = None if policy == RECORDED else policy_meant(policy)
        builder = PolicyReplay(pool, None, chosen).builder(step)
        return NotebookContext.of(context_of(builder, step))

    @property
    def policy(self) -> Policy:
        """The policy that built it, as it was recorded."""
        return self.pool.settings(self.recorded.fact)[1]

    @property
    def pool(self) -> BuilderPool:
        """The builders of the store that holds it."""
        return BuilderPool(self.task.store)


def policy_meant(named: Policy | str | Path) -> Policy:
    """Return a policy as it is, or by its name or file."""
    return named if isinstance(named, Policy) else policy_named(str(named))
