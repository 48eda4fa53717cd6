"""The measures of one log, each in a process of its own: `python -m scripts.benches.scale_parts`.

A process is asked for one measure on its input and prints the processor's seconds, counts, and the
most memory that it had. The modules that it uses are imported before its clock starts.
"""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from time import process_time
from typing import Any

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import DEFAULT
from backcast.engine.context.request import Request
from backcast.engine.context.search import search_words
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.commits import changed
from backcast.engine.history.snapshots import save_snapshots, state_at, states_of
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.summaries import documents
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import measured
from backcast.projections import ALL, dependency_graph
from scripts.benches.context_ours import TOKENIZER, Ours
from scripts.benches.figures import ROOT
from scripts.benches.log_replay import fold_all
from scripts.benches.regress_windows import CHANGES, functions_in
from scripts.benches.scale_log import TASK, History, grow
from scripts.benches.workload import open_store

TOKENS = 8_000
MOMENTS, REQUESTS, QUERIES = 7, 20, 5
"Moments, warm builds and warm searches whose median is taken."
QUERY = "read the options of a command and check their values"
Answer = dict[str, float]
OF_A_TASK = [projection for projection in ALL if projection.SCOPE == "task"]


def asked(measure: str, path: Path, **more: Any) -> Answer:
    """Ask a new process for a measure of the log in a file; `peak` is in bytes."""
    command = (sys.executable, "-m", __name__, measure)
    question = json.dumps({"path": str(path), **more})
    done = subprocess.run(command, input=question, stdout=subprocess.PIPE, text=True, check=True,
                          cwd=ROOT)  # fmt: skip
    answer: Answer = json.loads(done.stdout)
    return answer


def append(path: Path, histories: list[list[str]], size: int) -> Answer:
    """Append events until there are so many."""
    events, seconds = grow(path, [History(*one) for one in histories], size)
    return {"seconds": seconds, "events": events}


def keep(path: Path) -> Answer:
    """Keep snapshots since the last ones, as the end of an import does."""
    with open_store(path) as store:
        begin = process_time()
        with rarely_collecting():
            save_snapshots(store, OF_A_TASK, TASK)
        return {"seconds": process_time() - begin}


def replay(path: Path) -> Answer:
    """Fold all projections from the first event."""
    with open_store(path) as store:
        begin = process_time()
        fold_all(store.read(TASK))
        return {"seconds": process_time() - begin}


def state(path: Path) -> Answer:
    """Read the states of all projections at moments around the middle, nothing in memory."""
    with open_store(path) as store:
        last, random = store.version(TASK), Random(1)
        positions = [random.randint(last * 2 // 5, last * 3 // 5) for _ in range(MOMENTS)]
        taken = []
        for position in positions:
            begin = process_time()
            states_of(store, OF_A_TASK, TASK, Moment(position=position))
            taken.append(process_time() - begin)
        return {"seconds": median(taken)}


def build(path: Path) -> Answer:
    """Build the first context of a process, from reading the states on; then more of them."""
    with open_store(path) as store:
        graph_state: dependency_graph.State = state_at(store, dependency_graph, TASK)
        names = sorted(functions_in(graph_state))
        drawn = Random(1).sample(names, min(len(names), REQUESTS + 1))
    requests = [
        Request(f"function:{module}::{name}", f"Change {name.rpartition('.')[2]}")
        for module, name in drawn
    ]
    with open_store(path) as store:
        begin = process_time()
        states = states_at(store, TASK, NOW)
        graph = dependency_graph.graph_of(states.graph)
        ours = Ours(TOKENS, tokenizer_of(TOKENIZER), store)
        ours.build(states, graph, requests[0])
        cold, taken = process_time() - begin, []
        for request in requests[1:]:
            begin = process_time()
            ours.build(states, graph, request)
            taken.append(process_time() - begin)
    return {"cold": cold, "warm": median(taken), "functions": len(names)}


def regress(path: Path) -> Answer:
    """Build the prompts of the last changes: until the first of them, and each further one."""
    with EventStore.open(url := f"sqlite:///{path}", create=False) as store:
        run = ReplayRun(url, TASK, 0, max(0, len(changed(store, TASK)) - CHANGES), CHANGES)
        begin = process_time()
        replays = [PolicyReplay(BuilderPool(store), MISTRAL_7B_8K, DEFAULT)]
        results = measured(steps_of(store, run), replays)
        next(results)
        cold, begin = process_time() - begin, process_time()
        prompts = sum(1 for _ in results)
        return {"cold": cold, "warm": (process_time() - begin) / max(1, prompts)}


def search(path: Path) -> Answer:
    """Search by words: the first time in a process, and again over the same texts."""
    with open_store(path) as store:
        begin = process_time()
        current = documents(store, TASK, NOW)
        search_words(current, QUERY)
        cold, taken = process_time() - begin, []
        for word in islice(QUERY.split(), QUERIES):
            begin = process_time()
            search_words(current, f"{QUERY} {word}")
            taken.append(process_time() - begin)
        return {"cold": cold, "warm": median(taken)}


MEASURES = {work.__name__: work for work in (append, keep, replay, state, build, regress, search)}


def _peak() -> int:
    """Return the most bytes that this process had."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    question = json.load(sys.stdin)
    work: Any = MEASURES[sys.argv[1]]
    answer = work(Path(question.pop("path")), **question)
    print(json.dumps(answer | {"peak": _peak()}))
