"""Policies of routing tried on recorded dispatches, beside the same policies really run.

30 tasks are planted into two real repositories, of a difficulty that is drawn for each. A cheap and
a strong agent, both scripted, are as good as their strength says. One run begins a share of the
tasks by chance; from its log alone it is told what other policies would have come to. Then each of
those is really run: what was called exact must be so, and what was bounded must lie within.
"""

import sys
from pathlib import Path

from backcast.domain.routing import RoutingPolicy, drawn
from backcast.domain.routing_trial import Episode, RoutingResult, result
from backcast.engine.log.store import EventStore
from backcast.engine.replay.routing import episodes_in
from backcast.engine.workflow.dispatch.agents import AgentForm, OutputForm, Selector
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
from backcast.engine.workflow.dispatch.loop import begin, work
from backcast.engine.workflow.dispatch.routing_file import Routes
from backcast.engine.workflow.dispatch.source import source_at
from backcast.engine.workflow.sandbox.run import SandboxLimits
from scripts.benches.dispatched import committed, copies, own_temporary
from scripts.benches.figures import ROOT, Bench, Bound, Figure

AGENT = ROOT / "tests/routed_agent.py"
GROUP = "30 tasks, a share of them begun by chance"
TASKS, EXPLORE = 15, 0.5
STRENGTHS = {"cheap": (0.4, 1000), "strong": (0.9, 9000)}
LIMITS = SandboxLimits(seconds=60, cpu_seconds=60)
POLICIES = {
    "cheap first": RoutingPolicy(agents=("cheap", "strong")),
    "always cheap": RoutingPolicy(agents=("cheap",)),
    "always strong": RoutingPolicy(agents=("strong",)),
}


def measure(bench: Bench) -> list[Figure]:
    """Return what was told of each policy, beside what it came to."""
    seen, real = list[Episode](), {name: list[Episode]() for name in POLICIES}
    for place in copies(bench, 2, "routing"):
        _plant(place)
        seen += _run(bench, place, POLICIES["cheap first"].model_copy(update={"explore": EXPLORE}))
        for name, policy in POLICIES.items():
            real[name] += _run(bench, place, policy)
    figures = list[Figure]()
    for name, policy in POLICIES.items():
        found, truth = result(name, policy, seen), real[name]
        wrong, broken = _compared(found, truth)
        done, tokens = sum(one_task.done for one_task in truth), _tokens(truth)
        made = found.estimate
        most = found.most.tokens if found.most else 0
        known = (
            f"done {found.done[0]} to {found.done[1]}, {found.least.tokens:,} to {most:,} tokens"
        )
        guess = (
            f"estimated {made.done:.0%} ({made.low:.0%} to {made.high:.0%})" if made else found.why
        )
        count = len(seen)
        figures += [
            Figure(GROUP, f"{name}: known exactly", [found.exact], "",
                   f"{found.exact} of {count}; {known}",
                   f"really run: {done} of {count} done, {tokens:,} tokens"),
            Figure(GROUP, f"{name}: exact, and came out otherwise", [wrong], "", f"{wrong}",
                   must=Bound("<=", 0)),
            Figure(GROUP, f"{name}: outside of its bounds", [broken], "", f"{broken}",
                   must=Bound("<=", 0)),
            Figure(GROUP, f"{name}: share done, estimated", [made.done] if made else [], "", guess,
                   f"really run: {done / count:.0%}", why=found.why),
        ]  # fmt: skip
    return figures


def _plant(place: Path) -> None:
    """Write tasks into a repository, each with the test that it must pass."""
    lines = list[str]()
    for number in range(1, TASKS + 1):
        name, difficulty = f"part{number}", round(drawn(f"{place.name} {number}"), 2)
        (place / f"{name}.py").write_text(f"def {name}():\n    return 0\n")
        (place / f"test_{name}.py").write_text(
            f"from {name} import {name}\n\n\ndef test_it():\n    assert {name}() in (0, {number})\n"
        )
        lines.append(f"- [ ] {number}. {name}() of {name}.py must return {number}, difficulty"
                     f" {difficulty}\n")  # fmt: skip
    (place / "tasks.md").write_text("".join(lines))
    committed(place, "tasks")


def _run(bench: Bench, place: Path, policy: RoutingPolicy) -> list[Episode]:
    """Dispatch all tasks of a repository under a policy, and return what was recorded."""
    bench.say(f"{place.name}: {', '.join(policy.agents)}, {policy.explore:.0%} by chance")
    tasks = place / "tasks.md"
    body, found = tasks.read_text(), list[Episode]()
    usage = (Selector(prompt=("usage.prompt",), answer=("usage.answer",)),)
    output = OutputForm(form="json", answer=(Selector(text="result"),), usage=usage)
    forms = {
        name: AgentForm(name=name, program=sys.executable, output=output,
                        arguments=(str(AGENT), f"{strength}", f"{tokens}"))
        for name, (strength, tokens) in STRENGTHS.items()
    }  # fmt: skip
    name = f"{place.name}-{policy.digest}"
    with own_temporary(), EventStore.open("sqlite://") as store:
        for number in range(1, TASKS + 1):
            settings = DispatchSettings(
                implementer=forms["cheap"], routes=Routes(policy, forms), limits=LIMITS,
                tests=(f"test_part{number}.py",), only=(f"{number}",),
            )  # fmt: skip
            run = DispatchRun(store, name, source_at(place, [tasks]), tasks, settings)
            begin(run)
            work(run)
        found = list(episodes_in(store, name))
    tasks.write_text(body)
    return found


def _compared(found: RoutingResult, truth: list[Episode]) -> tuple[int, int]:
    """Return how many exact outcomes came out otherwise, and how many lie outside their bounds."""
    wrong = broken = 0
    for outcome, came in zip(found.outcomes, truth, strict=True):
        asked = tuple(min(made.agents, key=len) for made in came.tries)
        cost = came.cost.tokens
        if outcome.exact:
            same = (outcome.asked, outcome.done[0], outcome.least.tokens) == (
                asked,
                came.done,
                cost,
            )
            wrong += not same
        else:
            most = outcome.most.tokens if outcome.most else cost
            inside = outcome.least.tokens <= cost <= most
            broken += not (inside and outcome.done[0] <= came.done <= outcome.done[1])
    return wrong, broken


def _tokens(episodes: list[Episode]) -> int:
    return sum(episode.cost.tokens for episode in episodes)
