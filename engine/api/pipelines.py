"""A pipeline of your own, recorded as `backcast run` records its runs: asks, answers, code, checks.

What it appends are the facts of a run, in their order, and its prompts are built by the parts that
build a run's. So every command and assertion reads it as it reads a run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from backcast.domain.budget import ModelProfile, reserved
from backcast.domain.call_events import CallSettled
from backcast.domain.errors import InputError
from backcast.domain.events import (
    AnswerRefused,
    CallCost,
    CheckFailure,
    Claim,
    Fact,
    GenerationComplete,
    ModelFailed,
    ModuleComplete,
    ModuleIteration,
    ModuleStarted,
    PlannedModule,
    PlanningComplete,
    PlanningStarted,
    RequirementsComplete,
    SourceRead,
    StepStarted,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.moment import NOW
from backcast.domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from backcast.domain.policy import Policy
from backcast.engine.context.request import Request
from backcast.engine.interfaces.named_nodes import has_kind, near_nodes, node_named
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models import Completion
from backcast.engine.replay.steps import RecordedPrompt
from backcast.engine.workflow import handed_over
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import tests_of
from backcast.engine.workflow.results import ActionResult, checks_ran, replied
from backcast.engine.workflow.sandbox.box import safe_path
from backcast.engine.workflow.sandbox.run import Outcome
from backcast.engine.workflow.task_facts import completed, settings_used
from backcast.projections import dependency_graph, progress

from .open_prompts import OpenPrompt, OpenPrompts
from .tasks import OpenedStore, Prompt, Task

WRITER = "pipeline"
FAILED = ("unavailable", "timeout", "overflow", "refused", "garbled", "cancelled")
"Kinds of a missing answer."
FAILURES = 100
"Failures of a run of checks that its fact holds."


P = ParamSpec("P")
R = TypeVar("R")


def _in_turn(
    method: "Callable[Concatenate[Pipeline, P], R]",
) -> "Callable[Concatenate[Pipeline, P], R]":
    """Make a method wait for what another thread records of the task."""

    @wraps(method)
    def waiting(self: "Pipeline", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._turn:
            return method(self, *args, **kwargs)

    return waiting


class _PipelineTask(RunningTask):
    """The task of a pipeline, of which is known which prompts are open."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        super().__init__(store, task_id)
        self.prompts = OpenPrompts(task_id)

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event of the task tells, as it is read."""
        super().take(event)
        self.prompts.take(event)


class Pipeline(Task):
    """A task that a program of yours works on; `Store.start` begins it, `Store.resume` goes on.

    >>> import backcast
    >>> with backcast.open("sqlite://") as store:
    ...     shop = store.start("shop", "sell tea", files={"test_tea.py": "from tea import PRICE"})
    ...     prompt = shop.ask("tea.py", "Write tea.py: what tea costs.", wanted=["test_tea.py"])
    ...     shop.answered("PRICE = 3")                  # what a model said to prompt.messages
    ...     shop.wrote("tea.py", "PRICE = 3")           # what you made of it
    ...     shop.checked("tea.py", passed=1)            # and what your tests said
    ...     shop.done()
    ...     [item.node for item in prompt.items], all(found.holds for found in shop.verify())
    (['module:test_tea.py', 'task:shop'], True)

    Several prompts may be open at a time, as where modules are made side by side: then `answered`,
    `unanswered`, `refused` and `called` need the prompt that they are about, which `ask` returned.
    Of two programs that work on one task, one appends and the other gets a `ConflictError`.
    """

    def __init__(
        self, store: OpenedStore, id: str, profile: ModelProfile, policy: Policy, model: str = "",
    ) -> None:  # fmt: skip
        super().__init__(store, id)
        self.model, self._turn = model, RLock()
        self._task = _PipelineTask(self.store, id)
        self._task.read_on()
        self._refuse_ended()
        self._prompts = PromptBuilder(self._task, reserved(profile), policy)
        self._runner = uuid4().hex
        used, before = settings_used(profile, policy, model), self._task.used
        names = ("policy", "profile", "model")
        if not before or any(getattr(before, n) != getattr(used.facts[0], n) for n in names):
            self._append(used._replace(writer=WRITER))

    @_in_turn
    def plan(
        self, modules: Sequence[PlannedModule | Mapping[str, Any]], *, prompt: Prompt | None = None
    ) -> None:  # fmt: skip
        """Record the modules that will be written, in their order.

        Each has a path, and may have a purpose, dependencies (paths of modules that it needs) and
        tests (paths of the files that check it). `ask` shows the tests, and what is needed; the
        purpose is for whoever reads the log: say it in your query. `prompt` as in `wrote`.
        """
        named, version = handed_over.planned("plan", modules), self._version("plan", prompt)
        self._read_on()
        plans = [asked for asked in self._open.replied() if asked.kind == "plan"]
        writer = self._writer("plan", version, plans or self._open.replied())
        self._record(PlanningComplete(planned=named), writer=writer)

    @_in_turn
    def read(self, path: str, text: str) -> None:
        """Record a file as it was found: code that is there already, or a test."""
        source = Blob(_bytes(text))
        self._record(SourceRead(path=safe_path(path), source=source.ref), blobs=[source])

    @_in_turn
    def ask(
        self, target: str, query: str, *, wanted: Sequence[str] | None = None,
        needs: Sequence[str] | None = None, kind: str = "code",
    ) -> Prompt:  # fmt: skip
        """Build the prompt of a request, record it, and return it.

        `target` is the module (`cart.py`) or function (`cart.py::total`) that will be written, new
        or not; empty for a question about the whole, such as for a plan (with kind="plan"). `query`
        says in your words what is to be done, and in which form to answer. `wanted` names files,
        functions or classes to show in full beside the target, `needs` modules that it needs; by
        default those of its plan. All that was read or written before is in reach of the prompt.

        `InputError` for what the task does not hold; `BudgetExceededError` where the query does not
        fit.
        """
        handed_over.text("kind", kind, empty=False)
        handed_over.text("query", query, empty=bool(target))
        if wanted is not None:
            wanted = handed_over.texts("wanted", wanted)
        if needs is not None:
            needs = handed_over.texts("needs", needs)
        self._task.read_on()  # what others have appended between two steps
        self._read_on()
        stands = self._task.stands
        node = self._target(target)
        path = path_of(node) if node else ""
        planned = next((plan for plan in stands.planned if plan.path == path), None)
        if wanted is None:
            wanted = tests_of(planned, stands) if planned else ()
        if needs is None:
            needs = planned.dependencies if planned else ()
        else:
            needs = [path_of(self._known(name, "needs")) for name in needs]
        shown = [self._known(name, "wanted") for name in wanted]
        if path:
            shown.insert(0, node_id("module", path))
        if path and kind == "code" and path not in stands.modules:
            self._record(ModuleStarted(module_name=path))
            stands = self._task.stands
        begun = stands.modules.get(path, progress.ModuleProgress())
        lane = progress.try_key(kind, path)
        if self._needs_lane(lane):
            step = stands.step if lane not in stands.lanes else None
            of_step = step is not None and progress.try_key(step.kind, step.module) == lane
            seen = stands if of_step else progress.seen_from(stands, lane)
            same = [p for p in self._open.open if (p.kind, p.module) == (kind, path) and p.waits]
            beside = {"wave": self._task.stood_at} | ({"alternative": len(same)} if same else {})
        else:
            seen, beside = stands, {}
        request = Request(node, query, tuple(dict.fromkeys(shown)), tuple(dict.fromkeys(needs)))
        made = self._prompts.build(request)
        started = StepStarted(
            kind=kind, module_name=path, iteration=begun.iteration + 1 if path else 0,
            attempt=progress.attempt(seen), runner=self._runner, **beside,
        )  # fmt: skip
        claims = [Claim(fact, made.at, WRITER, ()) for fact in (started, made.fact)]
        stood = self._task.stood_at
        [_, built] = self._append(ActionResult(claims, made.blobs))
        return Prompt(
            self, RecordedPrompt(built.version, stood, started, made.fact, stood, (), made.at)
        )

    @_in_turn
    def answered(
        self, text: str, *, model: str = "", finish: str = "stop", thinking: str = "",
        prompt_tokens: int | None = None, tokens: int | None = None,
        cached_tokens: int | None = None, seconds: float | None = None,
        prompt: Prompt | None = None,
    ) -> None:  # fmt: skip
        """Record what the model answered to a prompt; tokens are counted by the model.

        `prompt` is what `ask` returned. It may be left out while no other one waits; `InputError`
        names those that wait.
        """
        step = self._open.waiting("answered", self._version("answered", prompt))
        answer = Completion(
            handed_over.text("answered", text),
            prompt_tokens=handed_over.whole_or_none("prompt_tokens", prompt_tokens),
            tokens=handed_over.whole_or_none("tokens", tokens),
            finish=handed_over.text("finish", finish, empty=False),
            cached_tokens=handed_over.whole_or_none("cached_tokens", cached_tokens),
            thinking=handed_over.text("thinking", thinking),
            seconds=None if seconds is None else handed_over.seconds("seconds", seconds),
            model=handed_over.text("model", model),
        )
        named = self._named(step)
        done = replied(
            answer, self.model or WRITER, step.tokens, named.get("call"),
            named.get("module_name", ""),
        )  # fmt: skip
        if not named:
            self._append(done)
            return
        read = step.tokens if answer.prompt_tokens is None else answer.prompt_tokens
        cost = CallCost(
            tokens=(read or 0) + (answer.tokens or 0), seconds=answer.seconds or 0.0
        )  # fmt: skip
        settled = CallSettled(call=step.call, outcome="answered", cost=cost)
        self._append(done._replace(facts=[*done.facts, settled]))

    @_in_turn
    def unanswered(
        self, reason: str, kind: str = "unavailable", *, prompt: Prompt | None = None
    ) -> None:
        """Record that the model gave no answer.

        `kind` is unavailable, timeout, overflow (the prompt is too long for it), refused (it does
        not take such a request), garbled (an answer that is none) or cancelled.
        """
        step = self._open.waiting("unanswered", self._version("unanswered", prompt))
        if kind not in FAILED:
            raise InputError(f"unanswered: needed a kind of {', '.join(FAILED)}, found {kind!r}")
        reason = handed_over.text("unanswered", reason, empty=False)
        self._read_on()
        named = self._named(step)
        facts: list[Fact] = [ModelFailed(reason=reason, kind=kind, **named)]
        if named:
            facts.append(CallSettled(call=step.call, outcome="failed", reason=reason))
        self._append(ActionResult(facts, writer=WRITER))

    @_in_turn
    def refused(self, reason: str, *, prompt: Prompt | None = None) -> None:
        """Record that the answer was of no use; the next prompt about it tells the model why."""
        step = self._open.answered("refused", self._version("refused", prompt))
        reason = handed_over.text("refused", reason, empty=False)
        shown = f"Your last answer was not used: {reason}"
        self._record(AnswerRefused(reason=shown, **self._named(step)))

    @_in_turn
    def called(
        self, tool: str, output: str = "", *, arguments: Any = None, failed: bool = False,
        message: str = "", prompt: Prompt | None = None,
    ) -> None:  # fmt: skip
        """Record a call of a tool, as the answer to a prompt asked for it, and what came back.

        `arguments` are anything that JSON can hold. Where it `failed`, the next prompts show its
        message, or the output, among the failures; else the output is shown by what your query says
        of it, and `read` or `wrote` tell of files. `backcast cat` prints the output. `prompt` as
        in `wrote`.
        """
        self._read_on()
        version = self._version("called", prompt)
        step = self._open.about("called", version, self._open.replied())
        body = Blob(_bytes(handed_over.text("output", output)))
        named, id = handed_over.text("called", tool, empty=False), uuid4().hex
        asked = ToolCalled(
            tool=named, call_id=id, arguments=handed_over.plain("arguments", arguments)
        )
        reason = handed_over.text("message", message) or output
        came: dict[str, Any] = {"failed": True, "message": reason} if failed else {}
        came |= {"call": step.call} if step and self._named(step) else {}
        returned = ToolReturned(tool=named, call_id=id, output=body.ref, **came)
        claims = [
            Claim(asked, None, self._replier(step), ()),
            Claim(returned, None, f"tool:{named}", (self._task.version + 1,)),
        ]
        self._append(ActionResult(claims, [body]))

    @_in_turn
    def wrote(self, path: str, text: str, *, prompt: Prompt | None = None) -> None:
        """Record the whole text of a module, as an answer has it, or as anyone wrote it.

        `prompt` is what `ask` returned, if the text is from its answer; by default the answer is
        the one about this module, if there is one.
        """
        version = self._version("wrote", prompt)
        self._read_on()
        stands = self._task.stands
        facts: list[Fact] = []
        if safe_path(path) not in stands.modules:
            facts.append(ModuleStarted(module_name=path))
        begun = stands.modules.get(path, progress.ModuleProgress())
        before = self._task.states.graph.modules.get(path)
        source = Blob(_bytes(text), before.source if before else None)
        made = ModuleIteration(
            module_name=path, iteration=begun.iteration + 1, source=source.ref
        )  # fmt: skip
        claims = [Claim(fact, None, WRITER, ()) for fact in facts]
        about = [asked for asked in self._open.replied() if asked.module == path]
        claims.append(Claim(made, None, self._writer("wrote", version, about), ()))
        self._append(ActionResult(claims, [source]))
        self._read_on()

    @_in_turn
    def checked(
        self, path: str, *, passed: int, failures: Sequence[CheckFailure | tuple[str, str]] = (),
        output: str = "", skipped: int = 0, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Record what the checks of a module said, or with an empty path those of the whole task.

        A failure is a name with a message, or a `CheckFailure`, which may also say where. Once all
        have passed, the module is complete: its last text is what its prompts came to.
        """
        path = handed_over.text("checked", path or "")
        if path and path not in self._task.stands.modules:
            raise self._unknown(path, "checked")
        failed = handed_over.failures("failures", failures)
        passed = handed_over.whole("passed", passed)
        errors = sum(failure.kind == "error" for failure in failed)
        outcome = Outcome(
            passed, len(failed) - errors, errors, failed[:FAILURES],
            _bytes(handed_over.text("output", output)), handed_over.seconds("seconds", seconds), (),
            {}, {}, handed_over.whole("skipped", skipped),
        )  # fmt: skip
        self._append(checks_ran(outcome, path or None)._replace(writer=WRITER))
        if path and passed and not failed:
            self.complete(path)

    @_in_turn
    def complete(self, path: str) -> None:
        """Record that a module is accepted as it is, as `checked` does where all has passed."""
        module = self._task.stands.modules.get(handed_over.text("complete", path))
        if module is None:
            raise self._unknown(path, "complete")
        if module.status != "complete":
            self._record(ModuleComplete(module_name=path))

    @_in_turn
    def done(self) -> None:
        """End the task: what it made is in reach of the prompts of later tasks."""
        self._read_on()
        self._record(GenerationComplete())
        ended = completed(self._task, self._prompts.tokenizer)
        self._append(ended._replace(writer=WRITER))

    @_in_turn
    def failed(self, reason: str) -> None:
        """End the task without its goal."""
        self._record(TaskFailed(reason=handed_over.text("failed", reason, empty=False)))

    def _read_on(self) -> None:
        """Outline the texts that have come; a task that has ended is not worked on."""
        self._refuse_ended()
        self._task.outline()

    def _refuse_ended(self) -> None:
        if self._task.stands.status in progress.ENDED:
            raise InputError(f"task {self.id!r} has ended: needed another name for what comes next")

    def _record(self, fact: Fact, *, writer: str = WRITER, blobs: Sequence[Blob] = ()) -> None:
        self._read_on()
        self._append(ActionResult([fact], blobs, writer))

    def _append(self, done: ActionResult) -> list[WorkflowEvent]:
        """Append after the last event that was read, and read the new events."""
        events = self.store.append(
            self.id, done.facts, after=self._task.version, writer=done.writer, blobs=done.blobs
        )
        self._task.read_on(events[-1].version)
        return events

    @property
    def _open(self) -> OpenPrompts:
        return self._task.prompts

    def _version(self, what: str, prompt: Prompt | None) -> int | None:
        """Return the event of a prompt that was named; `InputError` where it is none of the task's
        own."""
        if prompt is None:
            return None
        if not isinstance(prompt, Prompt) or prompt.task.id != self.id:
            raise InputError(f"{what}: prompt: needed what ask() returned, found {prompt!r:.60}")
        return prompt.event

    def _needs_lane(self, lane: str) -> bool:
        """Return whether a request stands beside another one that is open, or goes on with one that
        did: then the log tells by the call which answer is whose."""
        if lane in self._task.stands.lanes:
            return True
        step = self._task.stands.step
        if step is None or not (open := {asked.context: asked for asked in self._open.open}):
            return False
        first = open.get(step.context)
        same = progress.try_key(step.kind, step.module) == lane
        return first is not None and (first.waits or (self._open.is_beside and not same))

    def _named(self, step: OpenPrompt) -> dict[str, Any]:
        """Return the fields by which a fact names its prompt; empty where it is that of the last
        step, as in a program that asks one thing after the other."""
        if not (step.beside or self._open.is_beside or step.call != self._open.last):
            return {}
        return {"call": step.call} | ({"module_name": step.module} if step.module else {})

    def _writer(self, what: str, version: int | None, found: Sequence[OpenPrompt]) -> str:
        """Return who wrote what an answer led to, where `found` are those that may be meant."""
        if version is None and len(writers := {self._replier(step) for step in found}) == 1:
            return writers.pop()
        return self._replier(self._open.about(what, version, found))

    def _replier(self, step: OpenPrompt | None) -> str:
        """Return the model that gave an answer; the pipeline where there is none."""
        return self._task.event(step.reply).writer if step and step.reply else WRITER

    def _target(self, text: str) -> str:
        """Return the node that will be written, which need not exist yet."""
        if not handed_over.text("target", text or ""):
            return ""
        if has_kind(text) and kind_of(text) in ("module", *SYMBOLS):
            return text
        path, mark, name = text.partition("::")
        if has_kind(text) or not path or (mark and not name):
            raise InputError(f"needed PATH or PATH::NAME to ask for, found {text!r}")
        if not mark:
            return node_id("module", safe_path(path))
        facets = self._task.states.graph.modules.get(path, dependency_graph.ModuleNode()).facets
        kind = (facets.get(f"sig:{name}") or ("function",))[0]
        return node_id(kind, safe_path(path), name)

    def _known(self, text: str, what: str) -> str:
        """Return a node of the task; `InputError` where it holds none of the name."""
        node = node_named(self.store, self.id, text, NOW)
        path, name = path_of(node), name_of(node)
        module = self._task.states.graph.modules.get(path)
        if module is not None and not module.deleted:
            if not name or f"sig:{name}" in module.facets:
                return node
        elif not name and any(plan.path == path for plan in self._task.stands.planned):
            return node
        raise self._unknown(text, what)

    def _unknown(self, text: str, what: str) -> InputError:
        near = near_nodes(self.store, self.id, text, NOW)
        return InputError(f"{what}: needed what task {self.id!r} holds, found {text!r}{near}")


def begin(
    store: OpenedStore, id: str, goal: str, requirements: Sequence[str], files: Mapping[str, str],
    context: str | None,
) -> None:  # fmt: skip
    """Record a new task: its goal, the files that are there, and what is required of it."""
    if store.events.version(handed_over.text("task", id, empty=False)):
        raise InputError(
            f"task {id!r} is in this store already: resume({id!r}) goes on with it; to begin anew,"
            " name another task or another store"
        )
    named = {} if context is None else {"context": handed_over.text("context", context)}
    given = handed_over.files("files", files)
    sources = {path: Blob(_bytes(text)) for path, text in given.items()}
    facts: list[Fact] = [
        TaskStarted(goal=handed_over.text("goal", goal), **named),
        *(SourceRead(path=path, source=blob.ref) for path, blob in sources.items()),
        RequirementsComplete(requirements=list(handed_over.texts("requirements", requirements))),
        PlanningStarted(),
    ]
    store.events.append(id, facts, after=0, writer=WRITER, blobs=list(sources.values()))


def _bytes(text: str) -> bytes:
    if not isinstance(text, str):
        raise InputError(f"needed a text, found {type(text).__name__}")
    return text.encode(errors="surrogatepass")
