"""Contexts beside what earlier tasks left, by the code of the tree on Python's path.

Today's code and that of an earlier commit both run this script; it answers a question a line. A
pair's log holds finished tasks, each of which made the modules of one commit (their text before it
as first iteration, its own as second), and a task whose modules are the tree before the later
commit. The context is asked for at the end of the log.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from backcast.domain.events import (
    ModuleComplete,
    ModuleIteration,
    PlannedModule,
    PlanningComplete,
    TaskComplete,
    TaskStarted,
)
from backcast.domain.moment import Moment
from backcast.engine.context.recorded import context_at
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.memory.outlines import Outlining
from scripts.benches.context_ours import TOKENIZER, profile_of, request_of
from scripts.benches.context_tasks import Task
from scripts.benches.context_trees import Repository
from scripts.benches.workload import open_store

LATER = "later"


class Asked:
    """The questions."""

    def __init__(self) -> None:
        from backcast.engine.models.tokenizers import tokenizer_of

        self.tokenizer = tokenizer_of(TOKENIZER)

    def context(
        self, repository: str, folder: str, earlier: list[str], task: list[Any], tokens: int
    ) -> dict[str, Any]:
        """Return the context of a later task beside earlier ones, each named by its commit."""
        log = Path(folder) / f"{task[0][:12]}-{len(earlier)}.db"
        log.unlink(missing_ok=True)
        source = Repository(Path(repository))
        later = Task._make((*task[:-1], ()))
        with open_store(log) as store:
            for sha in earlier:
                finished(store, source, sha)
            tree = _only(source, Path(folder), later.parent)
            run(store, "git", tree, LATER)
            profile, begin = profile_of(tokens), perf_counter()
            built = context_at(store, LATER, Moment(), request_of(later), profile)
            taken = perf_counter() - begin
        log.unlink()
        over = self.tokenizer.count(built.text) > tokens
        return {"text": built.text, "seconds": taken, "over": over}


def finished(store: EventStore, source: Repository, sha: str) -> None:
    """Record a task that made what a commit made."""
    task = f"task-{sha[:10]}"
    goal = " ".join(source.git("log", "-1", "--format=%B", sha).split())
    before, after = tree_before(source, sha), source.tree(sha)
    changed = [path for path in after if before.get(path) != after[path]]
    store.append(task, [TaskStarted(goal=goal)], after=0)
    planned = PlanningComplete(planned=tuple(PlannedModule(path=path) for path in changed))
    store.append(task, [planned], after=1)
    for path in changed:
        for iteration, oid in enumerate(filter(None, (before.get(path), after[path])), 1):
            blob = Blob(source.body(oid) or b"")
            fact = ModuleIteration(module_name=path, iteration=iteration, source=blob.ref)
            store.append(task, [fact], after=store.version(task), blobs=[blob])
        store.append(task, [ModuleComplete(module_name=path)], after=store.version(task))
    Outlining(store, task).catch_up()
    store.append(task, [TaskComplete()], after=store.version(task))


def tree_before(source: Repository, sha: str) -> dict[str, str]:
    """Return the tree that a commit changed; nothing for the first one."""
    _, *parents = source.git("rev-list", "--parents", "-n", "1", sha).split()
    return source.tree(parents[0]) if parents else {}


def _only(source: Repository, work: Path, sha: str) -> Path:
    """Return a repository of one commit, which borrows its objects."""
    folder = work / f"only-{sha[:12]}"
    (folder / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    objects = Path(source.git("rev-parse", "--git-path", "objects").strip())
    borrowed = (source.folder / objects).resolve()
    (folder / "objects" / "info" / "alternates").write_text(f"{borrowed}\n")
    (folder / "HEAD").write_text(f"{sha}\n")
    (folder / "shallow").write_text(f"{sha}\n")
    return folder


def _serve() -> None:
    asked = Asked()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = getattr(asked, question.pop("ask"))(**question)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":  # an import starts processes, which read this file too
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    _serve()
