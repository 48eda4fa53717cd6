"""How likely were the bodies that commits wrote, to a model that reads them behind a context?

Every method has the same tokens, the same request and the same header behind its context, and is
read by the same model. A row is the mean over all tokens of new lines, the interval is drawn over
tasks. Nothing is answered: this is no measure of what a model would have written.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.policy import Policy
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.places import model_file
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench, Figure
from scripts.benches.reader_contexts import PEERS, messages_of, ours, peers, policies_of
from scripts.benches.reader_files import wide_file
from scripts.benches.reader_scores import KEPT, KeptReadings, Reading, key_of, reading_of
from scripts.benches.reader_table import rows_of
from scripts.benches.reader_tasks import ReadTask, read_tasks

MOST = 2_100
"Tokens that a prompt has beside its context, at most: request, header and body."


class Amount(NamedTuple):
    """How much a reader reads."""

    size: int
    "Tokens of a context."
    tasks: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    add = parser.add_argument
    add("--reader", default="SmolLM2-135M-Instruct.Q4_1.gguf", metavar="FILE",
        help="a model file, by path or name; read in the wider form made of it")  # fmt: skip
    add("--read", action="append", metavar="TOKENS:TASKS",
        help="tokens of a context, and how many tasks; may be repeated (2048:16)")  # fmt: skip
    add("--policy", action="append", metavar="NAME|FILE", help="policies beside the peers")
    add("--peer", action="append", metavar="NAME",
        help=f"some of {', '.join(PEERS)}; may be repeated (all of them)")  # fmt: skip
    add("--scores", type=Path, default=KEPT, metavar="FILE", help="where readings are kept")
    add("--each", type=int, default=8, help="tasks of a repository at most (8)")
    add("--show", type=Path, metavar="FOLDER", help="write the prompts there")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    asked = bench.options
    amounts = [Amount(*map(int, one.split(":"))) for one in asked.read or ["2048:16"]]
    policies = policies_of(asked.policy or ["default"])
    file = wide_file(model_file(asked.reader), bench.folder)
    window = max(amount.size for amount in amounts) + MOST
    reader = LikelihoodReader(file, window, threads=1, forgets=True)
    repositories = [Repository(folder) for folder in bench.repositories]
    tasks = {one.name: _tasks(bench, one, reader) for one in repositories}
    bench.say(", ".join(f"{name}: {len(some)} tasks" for name, some in tasks.items()))
    chosen = {amount.size: _chosen(tasks, amount.tasks) for amount in amounts}
    kept = KeptReadings(asked.scores)
    methods = [*policies, *_named(asked.peer)]
    waiting = list[tuple[ReadTask, str, int, str]]()
    for repository in repositories:
        own = tasks[repository.name]
        waiting += _contexts(bench, repository, own, reader, policies, chosen)
    read = _read(bench, waiting, reader, kept)
    return list(rows_of(read, reader.model.split()[0], chosen, methods))


def _tasks(bench: Bench, repository: Repository, reader: LikelihoodReader) -> list[ReadTask]:
    """Return the tasks of a repository whose request, header and body are within `MOST` tokens."""
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    found = read_tasks(bench, repository, bench.options.each, work)
    return [
        one for one in found
        if reader.tokens(reader.prompt(messages_of(one, ""), one.header), one.body) <= MOST
    ]  # fmt: skip


def _chosen(tasks: Mapping[str, Sequence[ReadTask]], count: int) -> list[ReadTask]:
    """Return so many tasks, of all repositories in turn."""
    drawn = {name: sorted(some, key=_draw) for name, some in tasks.items()}
    longest = max(map(len, drawn.values()), default=0)
    turns = [some[n] for n in range(longest) for some in drawn.values() if n < len(some)]
    return turns[:count]


def _named(peers: Sequence[str] | None) -> Sequence[str]:
    """Return the peers that are asked for."""
    if wrong := [name for name in peers or () if name not in PEERS]:
        raise InputError(f"--peer: needed one of {', '.join(PEERS)}, found {wrong[0]!r}")
    return peers if peers is not None else PEERS


def _draw(task: ReadTask) -> str:
    return sha256(task.id.encode()).hexdigest()


def _contexts(
    bench: Bench,
    repository: Repository,
    tasks: Sequence[ReadTask],
    reader: LikelihoodReader,
    policies: Mapping[str, Policy],
    chosen: Mapping[int, Sequence[ReadTask]],
) -> Iterator[tuple[ReadTask, str, int, str]]:
    by_id = {one.id: one for one in tasks}
    sizes = {
        one.id: [size for size, some in chosen.items() if one.id in {other.id for other in some}]
        for one in tasks
    }
    wanted = [one for one in tasks if sizes[one.id]]
    if named := _named(bench.options.peer):
        every = sorted({size for some in sizes.values() for size in some})
        found = peers(bench, repository, wanted, reader, every)
        for (task, method, size), text in found.items():
            if size in sizes[task] and method in named:
                yield by_id[task], method, size, text
    for context in ours(bench, repository, wanted, reader, policies, sizes):
        yield by_id[context.task], context.method, context.tokens, context.text


def _read(
    bench: Bench,
    waiting: Sequence[tuple[ReadTask, str, int, str]],
    reader: LikelihoodReader,
    kept: KeptReadings,
) -> list[Reading]:
    """Return a reading of each, and read what was never read; a task's methods follow each other.

    Two methods can give one context: it is read once.
    """
    ordered = sorted(waiting, key=lambda one: (one[2], _draw(one[0]), one[1]))
    todo, found = len(ordered), list[Reading]()
    for number, (task, method, size, context) in enumerate(ordered):
        prompt = reader.prompt(messages_of(task, context), task.header)
        if bench.options.show:
            name = f"{task.id} {method} {size}.txt".replace("/", "_")
            bench.options.show.mkdir(exist_ok=True, parents=True)
            text = "".join(run.text for run in prompt.runs)
            (bench.options.show / name).write_text(f"{text}\n<<<<<\n{task.body}\n")
        reading = kept.known.get(key_of(reader, prompt, task.body))
        if reading is None:
            reading = reading_of(reader, prompt, task, method, size, context)
            kept.add(reading)
        found.append(reading._replace(task=task.id, method=method, size=size))
        if sys.stderr.isatty() or number % 50 == 0:
            bench.say(f"{number + 1} of {todo} read")
    return found
