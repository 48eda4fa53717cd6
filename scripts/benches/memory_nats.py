"""What earlier tasks in the log are worth to a model that reads, in pairs and for the rest.

A task's body is read behind the context of a log with finished tasks, and behind that of a log
without any. Pairs are those of `memory_left`; the rest are the newest tasks of a repository, beside
finished tasks of commits that have nothing to do with them. Only new lines count.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.places import model_file
from scripts.benches.context_score import seen
from scripts.benches.context_tasks import Sources, Task
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench, Figure
from scripts.benches.memory_left import OTHERS, cases_of
from scripts.benches.memory_pairs import MOST, steps_of
from scripts.benches.memory_prompts import Asked
from scripts.benches.reader import MOST as BESIDE
from scripts.benches.reader_contexts import messages_of
from scripts.benches.reader_files import wide_file
from scripts.benches.reader_scores import reading_of
from scripts.benches.reader_tasks import ReadTask, read_tasks, ready

GROUP = "nats per token of new lines behind 2,048 tokens of context"
TOKENS = 2_048
EACH = 2
"Tasks of the rest of one repository."


class Read(NamedTuple):
    """A task, and its readings with and without finished tasks in the log."""

    nats: tuple[float, float]
    tokens: int
    needed: tuple[float, float]
    "The shares of needed definitions whose signature the two contexts show."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--reader", metavar="FILE", help="a model file that reads, for `nats`")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    if not bench.options.reader:
        why = "needs --reader FILE"
        return [Figure(GROUP, "with and without earlier tasks", unit="nats", why=why)]
    file = wide_file(model_file(bench.options.reader), bench.folder)
    reader = LikelihoodReader(file, TOKENS + BESIDE, threads=1, forgets=True)
    pairs, rest = list[Read](), list[Read]()
    for folder in bench.repositories:
        repository = Repository(folder)
        sources = Sources(repository)
        for case in cases_of(bench, repository):
            task = ready(repository, sources, case.task)
            if task is not None:
                pairs.append(_read(bench, reader, repository, task, case.earlier))
        for task, earlier in _rest(bench, repository):
            rest.append(_read(bench, reader, repository, task, earlier))
        bench.say(f"{repository.name}: {len(pairs)} pairs and {len(rest)} others read so far")
    if not rest:
        raise InputError("needed tasks to read, found none")
    return [row for name, some in (("pairs", pairs), ("the rest", rest)) if some
            for row in _rows(name, some)]  # fmt: skip


def _rest(bench: Bench, repository: Repository) -> Iterator[tuple[ReadTask, Sequence[str]]]:
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    order = [step.sha for step in steps_of(repository) if 0 < len(step.changes) <= MOST]
    for task in read_tasks(bench, repository, EACH, work):
        if task.task.sha in order:
            end = order.index(task.task.sha)
            yield task, [order[end * number // OTHERS] for number in range(OTHERS)]


def _read(
    bench: Bench, reader: LikelihoodReader, repository: Repository, task: ReadTask,
    earlier: Sequence[str],
) -> Read:  # fmt: skip
    asked, folder = Asked(), str(bench.folder.resolve())
    nats, needed, tokens = list[float](), list[float](), 0
    for some in (earlier, ()):
        text = asked.context(
            str(repository.folder.resolve()), folder, list(some), list(task.task), TOKENS
        )["text"]
        prompt = reader.prompt(messages_of(task, text), task.header)
        reading = reading_of(reader, prompt, task, "memory", TOKENS, text)
        nats.append(reading.new_nats)
        tokens = reading.new_tokens
        needed.append(_needed(task.task, text))
    return Read((nats[0], nats[1]), tokens, (needed[0], needed[1]))


def _needed(task: Task, text: str) -> float:
    return sum(one.signature for one in seen(text, task.gold)) / len(task.gold) if task.gold else 1


def _rows(name: str, read: Sequence[Read]) -> Iterator[Figure]:
    tokens = sum(one.tokens for one in read)
    with_them, without = (sum(one.nats[n] for one in read) / tokens for n in (0, 1))
    yield Figure(GROUP, f"{name}, {len(read)} tasks", [with_them], "nats",
                 control=f"no earlier tasks {without:.3f} nats")  # fmt: skip
    shown = [100 * sum(one.needed[n] for one in read) / len(read) for n in (0, 1)]
    yield Figure(GROUP, f"{name}: needed definitions by their signature", [shown[0]], "%",
                 control=f"no earlier tasks {shown[1]:.0f} %")  # fmt: skip
