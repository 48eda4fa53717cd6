"""The first and the last lines of a run over a list of tasks: who works, what is left, and next."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from backcast.domain.errors import InputError
from backcast.domain.spending import Allowance, remaining
from backcast.engine.interfaces.proxy.status import counted
from backcast.engine.workflow.dispatch.next_step import next_step
from backcast.engine.workflow.dispatch.work_tree import git
from backcast.projections import spending

if TYPE_CHECKING:
    from backcast.engine.workflow.dispatch.agents import AgentForm
    from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun

UNITS = {"calls": "calls", "tokens": "tokens", "seconds": "s", "money": "usd"}


def beginning(run: "DispatchRun", forms: "Iterable[AgentForm]", to: str | None) -> Iterator[str]:
    """Yield which server and model each agent asks, and what is left of the budget."""
    for form in forms:
        pointed = form.server.arguments or form.server.environment or form.server.files
        if to is None and not (pointed or form.keys or form.logins):
            continue  # a command of one's own, which may ask nobody
        if to is None:
            yield (f"{form.name}: asks {form.model or 'its own default model'} of its own servers;"
                   " its calls are not seen (--to URL records and counts them)")  # fmt: skip
        elif not pointed:
            yield (f"{form.name}: its table does not tell how to point it at a server: it may ask"
                   f" another than {to}, unseen")  # fmt: skip
        else:
            name = form.model or f"the model 'default' ({form.name}:MODEL names another)"
            yield f"{form.name}: asks {name} of {to}, through a proxy that records and counts calls"
    if run.spending.allowed.limited:
        kept = "" if run.settings.budget.limited else ", as this run was given before"
        yield f"budget: {_left(run.spending)} left{kept}"


def ending(run: "DispatchRun") -> Iterator[str]:
    """Yield how far the tasks are, what is left, and what a person can do next."""
    leaves = run.tasks.leaves()
    done = sum(item.status == "done" for item in leaves)
    every = "the one task is" if len(leaves) == 1 else f"all {len(leaves)} tasks are"
    words = every if done == len(leaves) else (
        f"{done} of {len(leaves)} tasks {'is' if done == 1 else 'are'}")  # fmt: skip
    spent = run.spending.spent
    money = f", {spent.money:g} usd" if spent.money else ""
    cost = (f"{counted(spent.calls, 'call')}, {spent.tokens:,} tokens, {spent.seconds:.1f} s{money}"
            " used")  # fmt: skip
    rest = f"; {_left(run.spending)} left" if run.spending.allowed.limited else ""
    yield f"{words} done; {cost}{rest}: 'backcast show spending {run.task}'"
    yield from _false_claims(run)
    yield from _landed(run)
    yield from _to_go_on(run, [item.id for item in leaves if item.status != "done"])


def _left(state: spending.State) -> str:
    """Return what is left of a budget, of how much."""
    rest = remaining(state.allowed, spending.committed(state))
    return ", ".join(
        f"{unspent:,.6g} of {most:,.6g} {UNITS[name]}"
        for name, unspent, most in zip(rest._fields, rest, state.allowed, strict=True)
        if unspent is not None and most is not None
    )


def _false_claims(run: "DispatchRun") -> Iterator[str]:
    made = [found.checked.differences for found in run.state.dispatches.values() if found.checked]
    wrong = [differences for differences in made if differences]
    if wrong:
        yield (f"claims: {len(wrong)} of {len(made)} say what is not so, none of it was believed:"
               f" 'backcast show ledger {run.task}'")  # fmt: skip


def _landed(run: "DispatchRun") -> Iterator[str]:
    """Yield how the work that is done gets to the branch that is checked out."""
    if run.state.commit is None:
        return
    place = {"GIT_DIR": str(run.source.repository.git_dir)}
    try:
        ahead = int(git(run.source.top, place, "rev-list", "--count", run.branch, "^HEAD"))
    except InputError:  # somebody removed the branch
        return
    if ahead:
        yield f"finished work, {counted(ahead, 'commit')}: git merge {run.branch}"


def _to_go_on(run: "DispatchRun", waiting: list[str]) -> Iterator[str]:
    halted = [name for name in waiting if name in run.state.decided
              and run.state.decided[name].action == "halt"]  # fmt: skip
    for name in halted:
        fact = run.state.decided[name]
        step = next_step(
            run.state, name, reviewed=run.settings.reviewer is not None,
            attempts=run.settings.attempts, halted=run.state.closed.get(name, 0),
            paused=run.state.at[name],
        )  # fmt: skip
        what = f"{name} at its review" if step.kind == "review" else name
        if not fact.pauses:
            yield (f"{name} waits for a person: {fact.reason}; change the task or the code, or give"
                   " the same command again, which begins it anew")  # fmt: skip
        elif fact.cause == "server":
            yield f"to go on with {what}: the same command, once the server answers"
        else:
            yield (f"to go on with {what}: the same command with more, such as --budget"
                   f" {more(run.spending.allowed, fact.reason or '')}")  # fmt: skip


def more(allowed: Allowance, reason: str) -> str:
    """Return a budget as `--budget` takes it, with twice of what a reason says is used up.

    >>> more(Allowance(calls=10, seconds=90), "budget_calls: no calls are left of the budget")
    '20calls,90s'
    """
    amounts = [
        (name, most * (2 if reason.startswith(f"budget_{name}") else 1))
        for name, most in zip(allowed._fields, allowed, strict=True) if most is not None
    ]  # fmt: skip
    return ",".join(f"{amount:.15g}{UNITS[name]}" for name, amount in amounts)
