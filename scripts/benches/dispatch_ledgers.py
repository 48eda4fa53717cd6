"""Tokens that a dispatch needs to know how far the work is: the ledgers, beside the files.

The lists of tasks are those of a public repository, with the requirements and the design that lie
beside them. Each is worked through by real dispatches of a scripted agent. At each dispatch the
ledgers of that moment, with the task's own words, are counted beside the list alone, beside the
list with its documents, as an orchestrator reads that has no ledger, and beside these with what
agents said and tests printed.
"""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from backcast.domain.dispatch_events import ClaimChecked, DispatchEnded, DispatchStarted, TasksRead
from backcast.domain.moment import Moment
from backcast.domain.task_list import marked, parse_tasks
from backcast.engine.history.ledgers import ledger_of, ledger_states
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
from backcast.engine.workflow.dispatch.loop import begin, work
from backcast.engine.workflow.dispatch.source import source_at
from scripts.benches.dispatched import agent, committed, fresh, git, own_temporary
from scripts.benches.figures import Bench, Figure

GROUP = "tokens of a dispatch, by its ledgers"
LISTS, TASKS = 6, 10
"Lists of a repository, the longest, and tasks of each that are worked on."
FILES = ("requirements.md", "design.md")


def measure(bench: Bench) -> list[Figure]:
    """Return the tokens of the ledgers beside those of the files."""
    specs = [spec for repository in bench.repositories for spec in _specs(repository)][:LISTS]
    if not specs:
        why = "needed a repository that has, or had, lists of tasks (tasks.md)"
        return [Figure(GROUP, "tokens of the ledgers", why=why)]
    rows = list[tuple[int, int, int, int]]()
    for number, spec in enumerate(specs):
        rows += _rows(bench, f"spec-{number}", spec)
    ours, alone, documents, history = (list(column) for column in zip(*rows, strict=True))
    said = f"{median(ours):,.0f} tokens, median of {len(rows)} dispatches"
    controls = {
        "the list of tasks alone": alone,
        "the list, requirements and design": documents,
        "these, and what agents and tests said before": history,
    }
    return [
        Figure(GROUP, f"share of {words}",
               [mine / its for mine, its in zip(ours, theirs, strict=True)], "x", said,
               f"{median(theirs):,.0f}")
        for words, theirs in controls.items()
    ]  # fmt: skip


def _specs(repository: Path) -> list[Mapping[str, str]]:
    """Return the lists of tasks that a repository has had, with their documents, longest first."""

    def show(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(repository), *words], capture_output=True, text=True
        )
        return done.stdout if done.returncode == 0 else ""

    found, commit = list[Mapping[str, str]](), ""
    for line in show("log", "--diff-filter=A", "--name-only", "--format=:%H", "--",
                     "*/tasks.md").splitlines():  # fmt: skip
        if line.startswith(":"):
            commit = line[1:]
        elif line:
            folder = line.rpartition("/")[0]
            texts = {name: show("show", f"{commit}:{folder}/{name}")
                     for name in ("tasks.md", *FILES)}  # fmt: skip
            if all(texts.values()):
                found.append(texts)
    return sorted(found, key=lambda texts: -len(texts["tasks.md"]))


def _rows(bench: Bench, name: str, spec: Mapping[str, str]) -> Iterator[tuple[int, int, int, int]]:
    place = fresh(bench, name)
    items = parse_tasks(spec["tasks.md"]).by_id
    listed = list(items)
    text = marked(spec["tasks.md"], dict.fromkeys(listed, "to do"))
    for path, body in {**spec, "tasks.md": text, "test_it.py": "def test_it(): pass\n"}.items():
        (place / path).write_text(body)
    git(place, "init", "-q")
    committed(place, "a specification")
    tasks, count = place / "tasks.md", tokenizer_of("upper-bound").count
    with own_temporary(), EventStore.open("sqlite://") as store:
        settings = DispatchSettings(implementer=agent("marks"), only=tuple(listed[:TASKS]))
        run = DispatchRun(store, name, source_at(place, [tasks]), tasks, settings)
        begin(run)
        bench.say(f"{name}: {len(run.items())} of {len(listed)} tasks")
        work(run)
        documents = sum(count(spec[path]) for path in FILES)
        said, whole = 0, 0
        for event in store.read(name):
            match event.fact:
                case TasksRead(text=str(ref)):
                    whole = count(store.get(ref).decode())
                case DispatchEnded(answer=str(ref)):
                    said += count(store.get(ref).decode())
                case ClaimChecked(preview=str(preview)):
                    said += count(preview)
            if isinstance(event.fact, DispatchStarted):
                states = ledger_states(store, name, Moment(event.position))
                item = items[event.fact.item or ""]
                lines = [*ledger_of(name, states).lines(), item.title, item.details]
                yield count("\n".join(lines)), whole, whole + documents, whole + documents + said
