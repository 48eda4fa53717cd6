"""One dispatch: an agent is started, watched, ended and read, and its work is checked."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backcast.domain.dispatch_events import (
    AgentPrinted,
    ClaimChecked,
    DispatchEnded,
    ResultClaimed,
)
from backcast.domain.dispatch_prompt import BLOCKS
from backcast.domain.dispatch_results import read_result
from backcast.domain.errors import InputError
from backcast.domain.events import CallCost, Fact
from backcast.domain.missing_layers import without_layers
from backcast.domain.name_list import first_names
from backcast.domain.spending import Price
from backcast.domain.task_list import ListedTask
from backcast.engine.log.blobs import Blob
from backcast.engine.workflow.dispatch.agent_run import AgentRun
from backcast.engine.workflow.dispatch.agents import AgentForm, filled
from backcast.engine.workflow.dispatch.assignments import Assignment, assignment_of, routed
from backcast.engine.workflow.dispatch.budget import Admission, CallCounter, admitted
from backcast.engine.workflow.dispatch.checking import (
    Finding,
    differences,
    found_by_tests,
    verdict,
)
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.folders import held_folder, is_held, new_folder
from backcast.engine.workflow.dispatch.last_words import last_words
from backcast.engine.workflow.dispatch.leaving import Leaving
from backcast.engine.workflow.dispatch.leftovers import remove_left
from backcast.engine.workflow.dispatch.next_step import NextStep
from backcast.engine.workflow.dispatch.output import AgentOutput, read_output
from backcast.engine.workflow.dispatch.source import tasks_within
from backcast.engine.workflow.dispatch.start import DispatchStart
from backcast.engine.workflow.dispatch.work_tree import WorkTree
from backcast.engine.workflow.executor import LOOK
from backcast.engine.workflow.results import PREVIEW
from backcast.projections import dispatches

LISTED = 20
"Failures that a fact holds."


def dispatch(run: DispatchRun, item: ListedTask, step: NextStep) -> str:
    """Dispatch an agent by what comes next; return why the budget denies it, or nothing."""
    run.settle_leaving()
    mark, begun = secrets.token_hex(8), None
    folder, lock = new_folder(f"{run.source.top} {run.task}")
    try:
        with run.turns.lock:  # what is read, set aside and recorded belongs together
            asked = routed(run, item, assignment_of(run, step))
            admission = _admitted(run, asked)
            if admission.action == "deny":
                return admission.reason
            try:
                start = DispatchStart(run, item, asked, admission, folder, lock, mark)
                begun = start.begin()
            except OSError as error:  # of a disk that is full, for instance
                raise InputError(
                    f"{folder}: needed a folder for an agent: {error.strerror or error}: make room"
                    " there, or set TMPDIR, and give the same command again"
                ) from None
        agent, tree, version, counter = begun
        agent.run(lambda stream, at, part: _printed(run, version, stream, at, part))
        _record(run, item, asked, agent, tree, version, counter)
    finally:
        os.close(lock)
        run.leave(Leaving(begun and begun.agent, folder, mark))
    if agent.outcome == "cancelled":
        raise KeyboardInterrupt
    return ""


def _admitted(run: DispatchRun, asked: Assignment) -> Admission:
    """Return what a dispatch may spend, once others have settled what it needs."""
    while True:
        if run.turns.stopping:
            raise KeyboardInterrupt
        open_now = len(dispatches.under_way(run.state))
        slots = min(run.settings.concurrency, run.turns.waiting() or 1) - open_now
        found = admitted(run.spending, asked.form.seconds, max(1, slots))
        if found.action != "deny" or not open_now:
            return found
        run.turns.changed.wait(LOOK)


def check(run: DispatchRun, version: int) -> None:
    """Check what an implementer left, and record that beside what it claims."""
    found = run.state.dispatches[version]
    assert found.ended is not None
    ended, claimed = found.ended, found.claimed
    claim = claimed.result if claimed else None
    error = (claimed.message or claimed.error or "") if claimed else "it was ended before"
    finding = Finding()
    patch = run.store.get(ended.patch) if ended.patch else b""
    began = ended.commit or found.started.commit or run.source.commit
    commit, clash = run.base() if found.checked else began, ""
    strange = list[str]()
    wanted = ended.outcome == "answered" and claim is not None and claim["status"] == "completed"
    if wanted:
        try:
            with _bare_tree(run, commit) as tree:
                try:
                    made = tree.patched(patch, merged=commit != began)
                except InputError as problem:
                    clash = str(problem)
                    raise
                strange = tree.leading_out(commit, made)
                before = tree.bodies(f"{commit}^{{tree}}")
                after = tree.bodies(made)
            finding = found_by_tests(before, after, run.settings.tests, run.settings.limits)
        except InputError as problem:
            finding = Finding(notes=(str(problem),))
    false, untold = differences(claim, ended.files, finding) if claim else ([], [])
    accepted, reason = verdict(
        ended.outcome or "", ended.reason or "", claim, error, ended.files, finding, false
    )
    if clash:
        accepted, reason = False, f"its changes do not fit what was done meanwhile: {clash}"
    if accepted and strange:
        accepted, reason = False, f"not kept: {first_names(strange, 3)}"
    output = Blob(finding.output)
    ran = {} if finding.passed is None else {
        "passed": finding.passed, "failed": finding.failed, "errors": finding.errors,
        "skipped": finding.skipped, "tests": finding.tests, "failures": finding.failures[:LISTED],
        "isolation": dict(finding.isolation), "output": output.ref,
        "preview": finding.output.decode(errors="replace")[-PREVIEW:],
    }  # fmt: skip
    fact = ClaimChecked(
        dispatch=version, files=ended.files, patch=ended.patch, differences=(*false, *untold),
        accepted=accepted, reason=reason, notes=finding.notes, **ran,
        **({"commit": commit} if commit != began else {}),
    )  # fmt: skip
    run.append(
        [fact], [output] if ran else [], [version, found.claim] if found.claim else [version]
    )
    item = found.started.item
    run.tell(f"{item}: {'holds' if accepted else 'does not hold'}: {reason}")
    lacking = without_layers(finding.isolation)
    if lacking and not any(
        without_layers(other.checked.isolation) == lacking
        for number, other in run.state.dispatches.items() if number != version and other.checked
    ):  # fmt: skip
        run.tell(lacking)
    if fact.differences:
        run.tell(f"{item}: but it {'; it '.join(fact.differences)}")


def checked_upon(run: DispatchRun, version: int) -> str:
    """Return the commit upon which the work of a dispatch was checked."""
    found = run.state.dispatches[version]
    checked = found.checked.commit if found.checked else None
    began = found.ended.commit if found.ended else None
    return checked or began or run.source.commit


def settle_cut(run: DispatchRun) -> None:
    """Settle dispatches whose process was killed, and remove what they left.

    `InputError` where one is under way in another process.
    """
    for version, found in dispatches.under_way(run.state):
        started = found.started
        if started.folder and is_held(started.folder):
            raise InputError(
                f"task {run.task!r}: dispatch {run.task}@{version} is under way in another process:"
                " wait for its end"
            )
        swept = bool(started.folder and started.mark) and remove_left(
            f"{started.folder}", f"{started.mark}"
        )
        began = next(event.timestamp for event in run.store.read(run.task, after=version - 1))
        ran = max(0.0, (run.store.clock() - began).total_seconds())
        cost = CallCost(seconds=round(min(ran, started.seconds or ran), 3))
        calls: dict[str, Any] = {}
        if started.recorded_as:
            counter = CallCounter(run.store, started.recorded_as, Price(), run.spending.allowed,
                                  run.settings.proxy)  # fmt: skip
            counter.settle()
            calls = {"calls": counter.counted.calls}
            cost = cost.model_copy(update={"tokens": counter.counted.tokens})
        notes = ("what it had left was removed",) if swept else ()
        run.append(
            [DispatchEnded(dispatch=version, outcome="cut", notes=notes, cost=cost, bound=True,
                           reason="our own process was ended before it", **calls)],
            because=[version],
        )  # fmt: skip
        run.tell(f"{started.item}: a dispatch was cut off, and is made again")


def _record(
    run: DispatchRun, item: ListedTask, asked: Assignment, agent: AgentRun, tree: WorkTree,
    version: int, counter: CallCounter | None,
) -> None:  # fmt: skip
    """Record how an agent ended, what it left, and what it claims: at once, so none is lost."""
    form, facts, blobs = asked.form, list[Fact](), list[Blob]()
    home = tree.path.parent / "home"
    file = Path(filled(form.output.file, {"home": str(home)})) if form.output.file else None
    said = read_output(form.output, agent.stdout.text, file)
    outcome, reason = agent.outcome, agent.reason
    secrets = [os.environ[name] for name in form.keys if os.environ.get(name)]
    if outcome == "answered" and said.failed is not None:
        words = last_words(said.failed, "", secrets)
        outcome, reason = "failed", f"it says that it failed: {words}"
    elif outcome == "failed" and agent.code:
        streams = (agent.stdout.text, agent.stderr.text)
        words = last_words(*((said.failed, "") if said.failed else streams), secrets)
        reason = f"{reason}: {words}" if words else reason
    notes = [f"{stream.lost:,} bytes of {stream.name} were not kept"
             for stream in (agent.stdout, agent.stderr) if stream.lost]  # fmt: skip
    if counter:
        notes += filter(None, [counter.settle()])
        if counter.unreached and outcome not in ("answered", "cancelled", "budget"):
            outcome, reason = "unreached", counter.unreached_why
    traces: dict[str, Any] = {}
    if asked.role == "implementer":
        try:
            own = tasks_within(run.source, run.tasks.path)
            state = tree.state(own)
            blobs.append(Blob(state.patch))
            traces = {"files": state.files, "patch": blobs[-1].ref, "commit": asked.commit}
        except InputError as error:
            outcome, reason = "failed", f"what it left cannot be read: {error}"
    if answer := said.answer:
        blobs.append(Blob(answer.encode(errors="surrogatepass")))
        traces["answer"] = blobs[-1].ref
    cost, calls, reported = _costs(form, agent, said, counter)
    if reported and calls and reported["reported"].tokens != cost.tokens:
        told_tokens = reported["reported"].tokens
        notes.append(f"it reports {told_tokens:,} tokens, the proxy counted {cost.tokens:,}")
    facts.append(
        DispatchEnded(
            dispatch=version, outcome=outcome, exit_code=agent.code, reason=reason,
            seconds=round(agent.seconds, 3), stdout_bytes=agent.stdout.size,
            stderr_bytes=agent.stderr.size, killed=agent.killed,
            isolation={"writes": agent.isolation}, notes=tuple(notes), cost=cost,
            session=said.session or None, **traces, **calls, **reported,
        )
    )  # fmt: skip
    if outcome != "cancelled":
        result = read_result(said.answer, asked.role, item.id, [BLOCKS[asked.role]],
                             held=bool(form.schema_arguments))  # fmt: skip
        read = {"result": result.result} if result.result is not None else {
            "error": result.error, "message": result.message}  # fmt: skip
        facts.append(ResultClaimed(dispatch=version, role=asked.role, notes=result.notes, **read))
    run.append(facts, blobs, [version])
    words = "answered" if outcome == "answered" else f"{outcome}: {reason}"
    asked_for = f", {counter.counted.calls} calls" if counter else ""
    rest = f"; what still ran was ended with it: {', '.join(agent.killed)}" if agent.killed else ""
    run.tell(f"{item.id}: {asked.form.name} {words} after {agent.seconds:.1f} s{asked_for}{rest}")


def _costs(
    form: AgentForm, agent: AgentRun, said: AgentOutput, counter: CallCounter | None
) -> tuple[CallCost, dict[str, Any], dict[str, Any]]:
    """Return the cost as counted, the number of calls, and the cost as the agent reports it."""
    seconds, price = round(agent.seconds, 3), form.price
    reported: dict[str, Any] = {}
    own = CallCost(seconds=seconds)
    if said.prompt_tokens is not None or said.answer_tokens is not None or said.money is not None:
        prompt, answer = said.prompt_tokens or 0, said.answer_tokens or 0
        money = price.of(prompt, answer) if said.money is None else said.money
        own = CallCost(tokens=prompt + answer, seconds=seconds, money=money)
        reported = {"reported": own}
    if counter is None:
        return own, {}, reported
    counted = counter.counted
    cost = CallCost(tokens=counted.tokens, seconds=seconds, money=counted.money)
    return cost, {"calls": counted.calls}, reported


def _printed(run: DispatchRun, version: int, stream: str, at: int, part: bytes) -> None:
    body = Blob(part)
    run.append([AgentPrinted(dispatch=version, stream=stream, at=at, text=body.ref)], [body],
               [version])  # fmt: skip


@contextmanager
def _bare_tree(run: DispatchRun, commit: str) -> Iterator[WorkTree]:
    """Open our own git folder for a commit, without its files."""
    with held_folder(f"{run.source.top} {run.task} checked") as folder:
        tree = WorkTree(run.source.repository, folder, commit)
        tree.open()
        yield tree
