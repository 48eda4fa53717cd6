"""Which gold does a context of ours lack, and why: not offered, over budget, or shown otherwise?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backcast.domain.node import name_of, path_of
from scripts.benches.context_ours import Built, opened, ours
from scripts.benches.context_score import Seen, seen
from scripts.benches.context_tasks import Task, tasks_of
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench

SOME = 40
"Missed gold that is listed where all tasks are asked for."


class Missed(NamedTuple):
    """A gold symbol and what became of it."""

    task: str
    budget: int
    gold: str
    kind: str
    where: str
    "in-file, imported or not imported."
    shown: str
    "signature, body or nothing."
    why: str


def explain(
    bench: Bench,
    repository: Repository,
    count: int,
    budgets: Sequence[int],
    task: str,
    out: Console,
) -> None:
    """Print what became of the gold of the tasks whose id begins so; of all by `all`."""
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    tasks = tasks_of(bench, repository, count, work)
    chosen = [one for one in tasks if task == "all" or one.id.startswith(task)]
    if not chosen:
        out.print(f"{repository.name}: no task {task!r}; there are, for instance:")
        for one in tasks[:10]:
            out.print(f"  {one.id}")
        return
    found: list[Missed] = []
    with opened(bench, repository, tasks) as store:
        for one, built in ours(store, repository.name, chosen, budgets):
            for budget, context in built.items():
                found += _missed(one, budget, context)
    if task == "all":
        _summary(found, out)
        found = [one for one in found if one.shown == "nothing"][:SOME]
    _list(found, out)


def _missed(task: Task, budget: int, built: Built) -> Iterator[Missed]:
    reasons = _reasons(built)
    for gold, shown in zip(task.gold, seen(built.text, task.gold), strict=True):
        where = "in-file" if gold.inside else "imported" if gold.near else "not imported"
        name = f"{gold.path}::{gold.name}"
        why = reasons.get((gold.path, gold.name), "not offered")
        told = "body" if shown.body else "signature" if shown.signature else "nothing"
        yield Missed(task.id, budget, name, gold.kind, where, told, _why(shown, why))


def _reasons(built: Built) -> dict[tuple[str, str], str]:
    """How each node is shown, or why it is not."""
    found = {}
    for out in built.context.omissions:
        found[path_of(out.node), name_of(out.node)] = f"out: {out.reason}"
    for item in built.context.items:
        place = path_of(item.node), name_of(item.node)
        found[place] = f"in as {item.level}, {item.priority}, {item.tokens} tokens"
    return found


def _why(shown: Seen, why: str) -> str:
    if shown.signature and not why.startswith("in as"):
        return f"shown by another item ({why})"
    return why


def _summary(found: Sequence[Missed], out: Console) -> None:
    table = Table(title="all gold", title_justify="left", header_style="dim")
    for head in ("tokens", "where", "kind", "shown", "why", "gold"):
        table.add_column(head)
    rows = Counter((one.budget, one.where, one.kind, one.shown, _kind(one.why)) for one in found)
    for (budget, *rest), count in sorted(rows.items()):
        table.add_row(str(budget), *rest, str(count))
    out.print(table)


def _kind(why: str) -> str:
    """A reason without its numbers."""
    return ", ".join(part for part in why.split(", ") if not part.endswith("tokens"))


def _list(found: Sequence[Missed], out: Console) -> None:
    table = Table(header_style="dim")
    for head in ("task", "tokens", "gold", "kind", "where", "shown", "why"):
        table.add_column(head, overflow="fold")
    for one in found:
        table.add_row(*(Text(str(cell)) for cell in one))
    out.print(table)


def run(
    bench: Bench,
    folders: Sequence[Path],
    count: int,
    budgets: Sequence[int],
    task: str,
    out: Console,
) -> None:
    """Explain tasks of some repositories, one after the other."""
    for folder in folders:
        repository = Repository(folder)
        out.print(f"\n[bold]{repository.name}[/bold]")
        explain(bench, repository, count, budgets, task, out)
