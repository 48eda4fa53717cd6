"""The start of a dispatch: its folder is filled, its keeper started, and that is recorded."""

from pathlib import Path
from typing import NamedTuple

from backcast.domain.dispatch_events import DispatchStarted
from backcast.domain.errors import UnavailableError
from backcast.domain.task_list import ListedTask
from backcast.engine.workflow.dispatch.agent_run import AgentOrders, AgentRun
from backcast.engine.workflow.dispatch.agents import StartedAs, prepared, program_of
from backcast.engine.workflow.dispatch.assignments import Assignment
from backcast.engine.workflow.dispatch.budget import Admission, CallCounter
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.leftovers import MARK
from backcast.engine.workflow.dispatch.prompts import DispatchPrompt, prompt_of
from backcast.engine.workflow.dispatch.pulse import Pulse
from backcast.engine.workflow.dispatch.work_tree import WorkTree


class BegunDispatch(NamedTuple):
    """A dispatch whose agent may start."""

    agent: AgentRun
    tree: WorkTree
    version: int
    counter: CallCounter | None


class DispatchStart(NamedTuple):
    """A dispatch that is about to begin, in a folder that is empty and held."""

    run: DispatchRun
    item: ListedTask
    asked: Assignment
    admission: Admission
    folder: Path
    lock: int
    "The descriptor by which the folder is held."
    mark: str
    "The word by which what the agent starts is found again."

    @property
    def recorded(self) -> str:
        """The task that records the agent's calls; empty without a proxy."""
        number = len(self.run.state.dispatches) + 1
        return f"{self.run.task}.{number}" if self.run.settings.proxy else ""

    def begin(self) -> BegunDispatch:
        """Fill an agent's folder, start its keeper, record that it is about to start, and say so.

        `UnavailableError` where the proxy has ended.
        """
        run, asked, admission = self.run, self.asked, self.admission
        program = program_of(asked.form, run.source.top)
        prompt = prompt_of(run, self.item, asked)
        proxy, recorded = run.settings.proxy, self.recorded
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()
        tree = WorkTree(run.source.repository, self.folder, asked.commit)
        started = prepared(
            asked.form, asked.role, prompt.text, program, home=self.folder / "home",
            work=tree.path, server=f"{proxy.address}/backcast/{recorded}" if proxy else "",
            mark={MARK: self.mark},
            phase="mend" if asked.repairs and "mend" in asked.form.roles else asked.role,
        )  # fmt: skip
        counter = CallCounter(run.store, recorded, asked.form.price, admission.rest, proxy) \
            if proxy else None  # fmt: skip
        agent = AgentRun(self._orders(started, tree.path, counter))
        agent.start_keeper()
        try:
            tree.make(asked.patch)
            if proxy and not proxy.open(recorded, admission.rest, asked.form.price):
                raise UnavailableError("the proxy before the server of --to has ended: give the"
                                       " same command again")  # fmt: skip
            fact = self._fact(started, prompt, recorded)
            [event] = run.append([fact], [prompt.body, *prompt.blobs])
        except BaseException:
            agent.close()
            raise
        self._say_begun(prompt)
        return BegunDispatch(agent, tree, event.version, counter)

    def _orders(self, started: StartedAs, work: Path, counter: CallCounter | None) -> AgentOrders:
        """Return how the agent is run: what starts it, and what ends it."""
        form = self.asked.form
        pulse = Pulse(self.run.tell, f"{self.item.id}: {form.name}",
                      counter.said if counter else None)  # fmt: skip

        def exceeded() -> tuple[str, str] | None:
            pulse.beat()
            return counter.exceeded() if counter else None

        return AgentOrders(
            folder=self.folder,
            work=work,
            command=started.command,
            environment=started.environment,
            prompt=started.prompt,
            lock=self.lock,
            seconds=self.admission.seconds,
            silence=form.silence,
            stopping=lambda: self.run.turns.stopping,
            exceeded=exceeded,
            lively=counter.lively if counter else lambda: 0.0,
        )

    def _fact(self, started: StartedAs, prompt: DispatchPrompt, recorded: str) -> DispatchStarted:
        """Return what a log records of the agent that is about to start."""
        item, asked, admission = self.item, self.asked, self.admission
        about = {"reviews": asked.reviews, "repairs": asked.repairs, "recorded_as": recorded,
                 "reserved_calls": admission.rest.calls if recorded else None,
                 "routed": asked.routed}  # fmt: skip
        about = {name: value for name, value in about.items() if value}
        return DispatchStarted(
            item=item.id, title=item.title, role=asked.role, agent=asked.form.name,
            model=asked.form.model, attempt=asked.attempt, repository=str(self.run.source.top),
            commit=asked.commit, folder=str(self.folder), mark=self.mark, prompt=prompt.body.ref,
            prompt_tokens=prompt.tokens, built=prompt.built,
            command=tuple(word.replace(str(self.folder), "FOLDER") for word in started.shown),
            seconds=admission.seconds, silence=asked.form.silence, reserved=admission.reserved,
            **about,
        )  # fmt: skip

    def _say_begun(self, prompt: DispatchPrompt) -> None:
        """Print who works on what, why that agent, and with what prompt."""
        item, asked, form = self.item, self.asked, self.asked.form
        named = f"{form.name}:{form.model}" if form.model else form.name
        again = ", once more for a result that can be read" if asked.repairs else ""
        self.run.tell(f"{item.id}: {asked.role} {named}, attempt {asked.attempt}{again}; {prompt}")
        for why in asked.routed.why if asked.routed else ():
            self.run.tell(f"{item.id}: {why}")
        if self.admission.action == "degrade":
            seconds = self.admission.seconds
            self.run.tell(f"{item.id}: {self.admission.code}: it has {seconds:.0f} s")
