"""The library: a store, its tasks, their moments and prompts, and what can be asked of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from backcast.domain.budget import ModelProfile
from backcast.domain.context_events import ContextItem, ContextOmission
from backcast.domain.errors import BackcastError, InputError
from backcast.domain.events import Fact, WorkflowEvent
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import Policy
from backcast.engine.context.policies import policy_named
from backcast.engine.context.recorded import context_at, messages
from backcast.engine.context.request import Request
from backcast.engine.history.maps import map_at_commit
from backcast.engine.history.moments import LAST
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_of
from backcast.engine.history.staleness import Stale, stale
from backcast.engine.history.task import TaskHandle, When
from backcast.engine.history.task_states import TaskStates, states_at
from backcast.engine.interfaces.named_nodes import node_asked
from backcast.engine.interfaces.profiles import profile_by
from backcast.engine.interfaces.testing.assertions import (
    assert_as_likely,
    assert_contains,
    assert_no_stale,
    assert_prefix_shared,
    assert_same_context,
    assert_within_budget,
)
from backcast.engine.interfaces.testing.replayed import Replayed, replayed
from backcast.engine.interfaces.view.notebook import (
    BudgetParts,
    NotebookContext,
    NotebookDiff,
    prompt_html,
)
from backcast.engine.log.importers import Report
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import counted, run
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Message
from backcast.engine.models.tokenizers import UpperBound, tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, Setting, runs_in
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.diff import diff as _diff
from backcast.engine.replay.diff import recorded
from backcast.engine.replay.find import prompt_at
from backcast.engine.replay.regress import Comparison, compared, rules_of
from backcast.engine.replay.steps import RecordedPrompt, asked
from backcast.engine.replay.try_runs import tried
from backcast.engine.replay.verify import Verdict, verified
from backcast.projections import Projection
from backcast.projections.context_map import ContextMap

__all__ = [
    "BackcastError", "Known", "ModelProfile", "Policy", "Prompt", "Store", "Task",
    "assert_as_likely", "assert_contains", "assert_no_stale", "assert_prefix_shared",
    "assert_same_context", "assert_within_budget", "diff", "open", "open_log", "policy", "profile",
    "regress",
]  # fmt: skip
RECORDED = "recorded"
"Names each prompt's own policy."


class Store:
    """An open store of runs.

    >>> import backcast
    >>> with backcast.open("sqlite://") as store:          # in memory
    ...     store.import_log("events", "fixtures/logs/till.jsonl").added
    ...     [task.id for task in store.tasks()]
    185
    ['till']
    """

    def __init__(self, events: EventStore, name: str) -> None:
        self.events, self.name = events, name
        "The event store underneath, and the file or URL that it was opened as."

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self.events.close()

    def task(self, id: str) -> "Task":
        """Return a task. `BackcastError` names those near it where there is none such."""
        return Task(self, id)

    def tasks(self) -> "list[Task]":
        """Return the tasks, sorted by name."""
        return [Task(self, id) for id in self.events.tasks()]

    def import_log(self, format: str, path: str | Path, task: str | None = None) -> Report:
        """Import a foreign log, as `backcast import FORMAT PATH --as TASK` does."""
        source = Path(path).expanduser()
        counted(format, source)
        return run(self.events, format, source, task)

    def append(self, task: str, facts: Sequence[Fact], *, writer: str = "") -> list[WorkflowEvent]:
        """Append facts behind the last event of a task, new or not, and return them as events."""
        return self.events.append(task, facts, after=self.events.version(task), writer=writer)


class Task(TaskHandle):
    """A task of a store: its events, its prompts, and what was known at any moment of it.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     till = store.task("till")
    ...     till.version, len(till.prompts()), till.at("first").progress.status
    (185, 34, 'started')
    """

    def __init__(self, store: Store, id: str) -> None:
        super().__init__(store.events, id)
        self.opened = store

    def at(self, when: When = NOW) -> "Known":
        """Return what was known at a moment: an event number, a time, `commit:SHA`, ..."""
        map = map_at_commit(self.store, self.id, when) if isinstance(when, str) else None
        return Known(self, self.moment(when), map)

    def prompt(self, when: str | int = LAST) -> "Prompt":
        """Return the prompt that was recorded as an event, `first`, `last`, or last by a time."""
        return Prompt(self, prompt_at(self.store, self.id, str(when)))

    def prompts(self) -> "list[Prompt]":
        """Return the recorded prompts, in the order in which they were asked for."""
        return [Prompt(self, prompt) for prompt in asked(self.store, self.id)]

    def replay(self, policy: Policy | str | None = None) -> Iterator[Replayed]:
        """Yield each recorded prompt as it is built today, for the assertions below."""
        return replayed(self.store, self.id, None if policy is None else _policy(policy))

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

    def __init__(self, task: Task, moment: Moment, map: ContextMap | None = None) -> None:
        """`map` stands for the map that was known then, as at a commit."""
        self.task, self.moment, self._map = task, moment, map
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
            self._states = states if self._map is None else states._replace(map=self._map)
        return self._states

    def __getattr__(self, name: str) -> Any:
        """Return one state: progress, graph, summaries, online, prompts, changes, offline, map; or
        versions."""
        if name in TaskStates._fields:
            return getattr(self.states, name)
        if name == "versions":
            from backcast.projections import versions

            return self.state(versions)
        raise AttributeError(f"no {name!r} is known; there are {', '.join(TaskStates._fields)}")

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
        """Return the context that a model would be shown for a request."""
        store, id = self.task.store, self.task.id
        Outlining(store, id).catch_up()
        request = Request(node_asked(node, query, store, id, self.moment), query)
        chosen = _policy(policy or "default")
        window = profile_by(profile, None, None) if isinstance(profile, str) else profile
        built = context_at(store, id, self.moment, request, window, chosen, self._map)
        return NotebookContext._make(built)


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
        window = BuilderPool(self.task.store).settings(fact)[0]
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
        """The things that it shows: node, section, level, tokens."""
        return self.recorded.fact.items

    @property
    def omissions(self) -> Sequence[ContextOmission]:
        """The things that it leaves out, with the reasons."""
        return self.recorded.fact.omissions


def open(name: str | Path = "backcast.db", *, create: bool = True) -> Store:
    """Open a store: a file, `sqlite:///FILE`, `postgresql://...`, or `sqlite://` in memory.

    >>> import backcast
    >>> with backcast.open("sqlite://") as store:
    ...     store.tasks()
    []
    """
    url = str(name) if "://" in str(name) else f"sqlite:///{name}"
    return Store(EventStore.open(url, create=create), url)


@contextmanager
def open_log(path: str | Path) -> Iterator[Store]:
    """Open a log that `backcast export` wrote, in memory; nothing is written to the file.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     store.tasks()
    [<task till>]
    """
    with opened(str(path)) as log:
        yield Store(log.store, str(path))


def diff(before: Prompt, after: Prompt) -> NotebookDiff:
    """Compare two recorded prompts, section by section.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     till = store.task("till")
    ...     backcast.diff(till.prompt(73), till.prompt(79)).shared.section
    'current module'
    """
    sides = []
    for prompt in (before, after):
        store, fact = prompt.task.store, prompt.recorded.fact
        window = BuilderPool(store).settings(fact)[0]
        sides.append(recorded(f"{prompt.event} {prompt.name}", fact, store.get, window.prompt))
    try:
        counter: Any = tokenizer_of(window.tokenizer)
    except InputError:
        counter = UpperBound()
    return NotebookDiff._make(_diff(sides[0], sides[1], counter))


def regress(
    runs: Sequence[Task | str | Path], policies: Sequence[Policy | str | Path], *,
    baseline: Policy | str = RECORDED, limits: Mapping[str, float] | None = None,
) -> list[Comparison]:  # fmt: skip
    """Build every prompt of some runs under other policies, and compare each with the baseline.

    A run is a task, or the file of a log. Rules stand in a policy's file under [regress], or in
    `limits`; `broken` lists those that a policy breaks.

    >>> import backcast
    >>> forgetful = backcast.Policy(name="forgetful", errors=0)
    >>> [found] = backcast.regress(["fixtures/logs/till.jsonl"], policies=[forgetful])
    >>> found.before.prompts, found.critical, len(found.broken)
    (34, 9, 2)
    """
    stores: dict[str, EventStore] = {}
    chosen: list[ReplayRun] = []
    for item in runs:
        if isinstance(item, TaskHandle):
            name = item.opened.name if isinstance(item, Task) else item.id
            stores[name] = item.store
            chosen += runs_in(Log(name, item.store, (item.id,)))
        else:
            with opened(str(item)) as log:
                chosen += runs_in(log)
    names = [_name(policy) for policy in (baseline, *policies)]
    settings = [
        Setting(name, None if policy == RECORDED else _policy(policy))
        for name, policy in zip(names, (baseline, *policies), strict=True)
    ]
    rules = [
        rules_of("" if isinstance(policy, Policy) else str(policy),
                 [f"{name}={value}" for name, value in (limits or {}).items()])
        for policy in policies
    ]  # fmt: skip
    files = [run for run in chosen if run.log not in stores]
    done = [*tried([run for run in chosen if run.log in stores], settings, stores=stores),
            *tried(files, settings)]  # fmt: skip
    return compared(done, names, rules)


def policy(name: str | Path = "default") -> Policy:
    """Return a policy: the default, a strategy by its name, or that of a TOML file.

    >>> import backcast
    >>> backcast.policy("no-cache").name
    'no-cache'
    """
    return policy_named(str(name))


def profile(name: str = "mistral-7b-8k", *, context_tokens: int | None = None) -> ModelProfile:
    """Return the profile of a model, with another context part where one is given.

    The window then shrinks by the difference; it never grows beyond the model's own.

    >>> import backcast
    >>> backcast.profile("qwen3-8b-32k").window
    32768
    """
    return profile_by(name, None, context_tokens)


def _policy(named: Policy | str | Path) -> Policy:
    return named if isinstance(named, Policy) else policy_named(str(named))


def _name(named: Policy | str | Path) -> str:
    if isinstance(named, Policy):
        return named.name
    return Path(named).stem if str(named).endswith(".toml") else str(named)
