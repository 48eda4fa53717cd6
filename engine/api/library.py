"""The library: a store, its tasks, their moments and prompts, and what can be asked of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BackcastError, InputError
from backcast.domain.events import Fact, WorkflowEvent
from backcast.domain.policy import Policy
from backcast.engine.context.policies import laid_over, policy_known, policy_named
from backcast.engine.history.task import TaskHandle
from backcast.engine.interfaces.profiles import DEFAULT_PROFILE, profile_by
from backcast.engine.interfaces.testing.assertions import (
    assert_as_likely,
    assert_contains,
    assert_no_stale,
    assert_prefix_shared,
    assert_same_context,
    assert_within_budget,
)
from backcast.engine.interfaces.view.notebook import NotebookContext, NotebookDiff
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.git_beginning import Beginning
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.log.remote import shown
from backcast.engine.log.store import EventStore, refs_in
from backcast.engine.memory.import_log import counted, run
from backcast.engine.models.tokenizers import UpperBound, tokenizer_of
from backcast.engine.replay.corpus import NOTHING, ReplayRun, Setting, runs_in
from backcast.engine.replay.diff import built, recorded
from backcast.engine.replay.diff import diff as _diff
from backcast.engine.replay.regress import Comparison, compared, rules_of
from backcast.engine.replay.try_runs import tried
from backcast.engine.workflow import handed_over
from backcast.engine.workflow.runtime import used_before

from .pipelines import Pipeline, begin
from .tasks import Known, Prompt, Task, policy_meant

__all__ = [
    "BackcastError", "Known", "ModelProfile", "Pipeline", "Policy", "Prompt", "Store", "Task",
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

    def __repr__(self) -> str:
        return f"<store {shown(self.name)}>"

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

    def import_log(
        self, format: str, path: str | Path, task: str | None = None, *,
        last: int | None = None, since: datetime | None = None,
    ) -> Report:  # fmt: skip
        """Import a foreign log, as `backcast import FORMAT PATH --as TASK` does.

        A new task of a git history begins with its `last` commits, or behind the last one before
        `since`, a time with its zone; `InputError` for other formats.
        """
        if (last is not None or since is not None) and format != "git":
            raise InputError(f"last, since: needed a git history, found {format!r}")
        if last is not None and last < 1:
            raise InputError(f"last: needed 1 or more, found {last}")
        if since is not None and since.tzinfo is None:
            raise InputError(f"since: needed a time with its zone, found {since}")
        source = Path(path).expanduser()
        counted(format, source)
        return run(self.events, format, source, task, begin=Beginning(last, since))

    def start(
        self, id: str, goal: str, *, requirements: Sequence[str] = (),
        files: Mapping[str, str] | None = None, model: str = "",
        policy: Policy | str | Path = "default", profile: ModelProfile | str = DEFAULT_PROFILE,
        context: str | None = None,
    ) -> Pipeline:  # fmt: skip
        """Begin a task that your program works on, and return it; `InputError` where it is there.

        `files` are texts that are there already, tests above all, by path. `model` is a name for
        the log. `context` names the repository whose map the task shares.
        """
        settings = _window(profile), policy_meant(policy)
        handed_over.text("model", model)
        begin(self, id, goal, requirements, {} if files is None else files, context)
        return Pipeline(self, id, *settings, model)

    def resume(
        self, id: str, *, model: str | None = None, policy: Policy | str | Path | None = None,
        profile: ModelProfile | str | None = None,
    ) -> Pipeline:  # fmt: skip
        """Go on with a task that your program began; by default under the settings it had.

        `InputError` where it has ended.
        """
        self.events.require(handed_over.text("task", id))
        before = used_before(self.events, id)
        window = _window(profile or before.profile or DEFAULT_PROFILE)
        chosen = before.policy if policy is None else policy_meant(policy)
        return Pipeline(self, id, window, chosen, before.model or "" if model is None else model)

    def put(self, text: str | bytes) -> str:
        """Store a text, and return the name by which facts point at it: `blob:` and its digest."""
        return self.events.put(text.encode() if isinstance(text, str) else text)

    def append(
        self, task: str, facts: Sequence[Fact], *, writer: str = "", after: int | None = None
    ) -> list[WorkflowEvent]:
        """Append facts behind the last event of a task, new or not, and return them as events.

        `after` is the number of the last event that you have read: with it a `ConflictError` tells
        that somebody has appended since, as it may without it while two programs append at once.
        `InputError` for a text that the store does not hold (`put` stores one).
        """
        for fact in facts:
            unset = [n for n in type(fact).model_fields if n not in fact.model_fields_set]
            for name in fact.model_extra or ():
                if near := get_close_matches(name, unset, 1, 0.7):
                    raise InputError(f"{fact.type}: needed {near[0]!r}, found {name!r}")
            for ref in refs_in(fact.model_dump_json(exclude_unset=True).encode()):
                if not self.events.holds(ref):
                    raise InputError(f"{fact.type}: needed a text of this store, found {ref[:17]}…")
        last = self.events.version(task) if after is None else after
        return self.events.append(task, facts, after=last, writer=writer)


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


def diff(before: Prompt, after: Prompt | NotebookContext) -> NotebookDiff:
    """Compare a recorded prompt with another, or with itself under another policy, by section.

    >>> import backcast
    >>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
    ...     till = store.task("till")
    ...     backcast.diff(till.prompt(73), till.prompt(79)).shared.section
    'current module'
    """
    window = before.pool.settings(before.recorded.fact)[0]
    sides = []
    for prompt in (before, after):
        if isinstance(prompt, Prompt):
            store, fact = prompt.task.store, prompt.recorded.fact
            window = prompt.pool.settings(fact)[0]
            sides.append(recorded(f"{prompt.event} {prompt.name}", fact, store.get, window.prompt))
        else:
            sides.append(built(f"{before.event} {before.name}", prompt, window.template))
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
    >>> forgetful = backcast.policy("coverage", name="forgetful", errors=0)  # the log's own, but
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
        Setting(name, None if policy == RECORDED else policy_meant(policy))
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
    if not any(result.steps for result in done):
        raise InputError(NOTHING)
    return compared(done, names, rules)


def policy(name: str | Path = "default", /, **settings: object) -> Policy:
    """Return a policy: the default, a strategy by its name, or that of a TOML file, with other
    settings laid over it as a file's are. `BackcastError` for a setting that there is not.

    (`backcast.Policy()` is another than the default: it reads old logs, so it never changes.)

    >>> import backcast
    >>> backcast.policy("no-cache").name
    'no-cache'
    >>> backcast.policy(errors=0, small={"patterns": 1}).errors
    0
    """
    found = policy_named(str(name))
    if "name" in settings and policy_known(str(settings["name"])):
        raise InputError(
            f"needed a new name, or policy({settings['name']!r}), found that of another"
        )
    if settings and "name" not in settings:
        settings["name"] = f"{found.name} with {', '.join(sorted(settings))}"
    return laid_over(found, settings) if settings else found


def profile(
    name: str = DEFAULT_PROFILE, *, context_tokens: int | None = None,
    prompt_tokens: int | None = None,
) -> ModelProfile:  # fmt: skip
    """Return the profile of a model, with another context part, or with prompts of so many tokens
    at most, all in all.

    The window then shrinks by the difference; it never grows beyond the model's own.

    >>> import backcast
    >>> backcast.profile("qwen3-8b-32k").window, backcast.profile(prompt_tokens=2_000).prompt
    (32768, 2000)
    """
    return profile_by(name, None, context_tokens, prompt_tokens)


def _window(named: ModelProfile | str) -> ModelProfile:
    if isinstance(named, ModelProfile):
        return named
    return profile_by(handed_over.text("profile", named), None, None)


def _name(named: Policy | str | Path) -> str:
    if isinstance(named, Policy):
        return named.name
    return Path(named).stem if str(named).endswith(".toml") else str(named)
