"""The times of warm builds by the code of the tree on Python's path, as answers a question a line.

Today's code and that of an earlier commit both run this script: it names nothing but
benches, whose names both trees have. `open` imports a repository, `build` answers a request.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from scripts.benches.context_tasks import Task
from scripts.benches.figures import Bench
from scripts.benches.regress_windows import stored
from scripts.benches.workload import open_store

bench: Any = import_module("scripts.benches.context_ours")
NOW: Any = bench.states_at.__annotations__["moment"]()
"The moment of that tree that leaves nothing out; its module has another name in each."


class Asked:
    """The questions."""

    def open(self, folder: str, repository: str, tokens: int) -> dict[str, Any]:
        """Import a repository where that was not done, and read its newest state.

        Return its functions, methods and tests, where the tree has a bench that counts them.
        """
        url, name = stored(Bench(Path(folder), False, []), Path(repository))
        store = open_store(Path(url.removeprefix("sqlite:///")))
        self.states = bench.states_at(store, name, NOW)
        self.graph = bench.dependency_graph.graph_of(self.states.graph)
        self.ours = bench.Ours(tokens, bench.tokenizer_of(bench.TOKENIZER), store)
        counted = getattr(import_module("scripts.benches.regress_windows"), "functions_in", None)
        return {"functions": sum(1 for _ in counted(self.states.graph)) if counted else 0}

    def build(self, task: list[Any]) -> dict[str, Any]:
        """Build the context of a request, and take its time."""
        asked = bench.request_of(Task._make((*task[:-1], ())))
        begin, spent = perf_counter(), process_time()
        context = self.ours.builder.build(self.states, self.graph, asked)
        taken, spent = perf_counter() - begin, process_time() - spent
        tokens = self.ours.tokenizer.count(context.text)
        return {"seconds": taken, "spent": spent, "tokens": tokens}


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
