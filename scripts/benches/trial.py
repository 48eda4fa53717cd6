"""`scripts/bench trial`: the real question, put to any model: does a map help it?

One code base, many questions, one after the other; before each the notes of an arm stand above it,
and after it the arm may learn. Every arm gets the same questions in the same order, side by side,
so that a machine or a server that has a bad hour has it for all. Each question is a task in a log,
so what a model saw and said can be looked at (`backcast log --json`, `cat`); the code base itself
is not in it, so that `backcast map show` calls the items of such a log stale. What is printed is
about this model and these questions. A model of random weights shows that it runs, and no more.
"""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backcast.domain.context_map import Tokens
from backcast.domain.errors import InputError, ModelError, UnavailableError
from backcast.domain.policy import MapSettings
from backcast.engine.context.policies import policy_named
from backcast.engine.interfaces.asked import model_asked
from backcast.engine.log.store import EventStore
from backcast.engine.models import Model
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.paired import pooled
from scripts.benches.trial_arms import ARMS, Arm, Given, Nothing
from scripts.benches.trial_run import Asking, Cost, Outcome
from scripts.benches.trial_world import Question, World, questions_about, questions_in


class Way(NamedTuple):
    """One arm with one order of the questions."""

    arm: Arm
    asking: Asking
    seed: int
    order: Sequence[Question]

    def step(self, number: int) -> Outcome:
        """The next question, and what the arm learns of it."""
        question = self.order[number]
        notes = self.arm.notes(question.text)
        task = f"{self.arm.name}: {self.seed}: {number + 1}"
        outcome = self.asking.ask(task, question, notes)
        self.arm.learn(outcome)
        return outcome


class Setting(NamedTuple):
    """How all ways are gone."""

    world: World
    model: Model
    count: Tokens
    tokens: int
    room: int
    settings: MapSettings
    out: str = "sqlite://"
    "The folder that the logs are left in; none, where they are not kept."

    def way(self, name: str, seed: int, questions: Sequence[Question]) -> Way:
        """An arm before the first question."""
        kept = not self.out.startswith("sqlite")
        stem = "".join(one if one.isalnum() else "-" for one in f"{name}-{seed}")
        log = EventStore.open(f"sqlite:///{self.out}/{stem}.db" if kept else self.out)
        given = Given(self.world, self.model, self.count, self.tokens, log, self.settings)
        asking = Asking(self.world, self.model, self.count, self.room, log)
        order = list(questions)
        random.Random(seed).shuffle(order)
        return Way(ARMS[name](given), asking, seed, order)


class Result(NamedTuple):
    """What came of an arm: of each seed, the outcomes by question, and what keeping cost."""

    name: str
    outcomes: dict[tuple[int, Question], Outcome]
    kept: Cost

    @property
    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "arm": self.name,
            "score": mean(one.score for one in self.outcomes.values()),
            "steps": mean(one.steps for one in self.outcomes.values()),
            "tokens": self.tokens,
            "kept": self.kept.tokens / len(self.outcomes),
            "questions": [
                {"seed": seed, "question": question.text, "answers": one.answers,
                 "score": one.score, "steps": one.steps, "tokens": one.cost.tokens}
                for (seed, question), one in self.outcomes.items()
            ],
        }  # fmt: skip

    @property
    def tokens(self) -> float:
        """Of a question, those that keeping the notes took among them."""
        asked = sum(one.cost.tokens for one in self.outcomes.values())
        return (asked + self.kept.tokens) / len(self.outcomes)


def tried(
    setting: Setting, questions: Sequence[Question], arms: Sequence[str], seeds: int, workers: int
) -> list[Result]:
    """Every arm on every order of the questions, one question of all at a time."""
    ways = [setting.way(name, seed, questions) for seed in range(seeds) for name in arms]
    outcomes: list[list[Outcome]] = [[] for _ in ways]
    with ThreadPoolExecutor(workers) as pool:
        for number in track(range(len(questions)), "asking", console=Console(stderr=True)):
            steps = pool.map(lambda way, number=number: way.step(number), ways)
            for found, outcome in zip(outcomes, steps, strict=True):
                found.append(outcome)
    return [_result(name, ways, outcomes) for name in arms]


def _result(name: str, ways: Sequence[Way], outcomes: Sequence[Sequence[Outcome]]) -> Result:
    found: dict[tuple[int, Question], Outcome] = {}
    kept = Cost()
    for way, some in zip(ways, outcomes, strict=True):
        if way.arm.name == name:
            found |= {(way.seed, one.question): one for one in some}
            kept.add(way.arm.cost.prompt, way.arm.cost.answer)
    return Result(name, found, kept)


def against(result: Result, bare: Result) -> tuple[float, float, float]:
    """By how much an arm scores better than no notes, paired by question and seed: the mean, and
    the 95 % of means that resampling gives."""
    pairs = [one.score - bare.outcomes[key].score for key, one in result.outcomes.items()]
    return pooled([np.array(pairs)])


def table_of(results: Sequence[Result], title: str) -> Table:
    """The arms side by side."""
    bare = next(one for one in results if one.name == Nothing.name)
    table = Table(title=title, title_justify="left", header_style="dim")
    for name in ("notes", "score, %", "to no map, points (95 %)", "steps", "tokens a question",
                 "of these to keep", "to no map"):  # fmt: skip
        table.add_column(name, justify="left" if name == "notes" else "right")
    for one in results:
        told = one.told
        by, low, high = (100 * value for value in against(one, bare))
        table.add_row(
            one.name, f"{100 * told['score']:.1f}", f"{by:+.1f} ({low:+.1f} to {high:+.1f})",
            f"{told['steps']:.2f}", f"{one.tokens:,.0f}", f"{told['kept']:,.0f}",
            f"{one.tokens / bare.tokens:.2f}x",
        )  # fmt: skip
    return table


def main() -> None:
    """Ask, and print one table."""
    asked = _parser().parse_args()
    try:
        compared(asked)
    except (InputError, ModelError, UnavailableError, OSError) as error:
        raise SystemExit(f"bench: {error}") from None


def compared(asked: argparse.Namespace) -> None:
    """The arms that were asked for, compared."""
    count = tokenizer_of(asked.tokenizer).count
    model = model_asked("--model", asked.model, asked.profile)
    arms = [Nothing.name, *(one for one in asked.arm or ARMS if one != Nothing.name)]
    if asked.json and not asked.json.parent.is_dir():
        raise InputError(f"{asked.json}: needed a folder that is there")
    if asked.out:
        Path(asked.out).mkdir(parents=True, exist_ok=True)
        if any(Path(asked.out).iterdir()):
            raise InputError(f"{asked.out}: needed an empty folder for the logs")
    with EventStore.open(asked.store, create=False) as store:
        store.require(asked.task)
        world = World(store, asked.task, count)
        made = questions_about(world, asked.make, 0)
        questions = questions_in(asked.questions) if asked.questions else made
        if not questions:
            raise InputError(f"{asked.task}: needed questions, found none: name --questions FILE")
        settings = policy_named(asked.policy).map
        setting = Setting(world, model, count, asked.tokens, asked.room, settings,
                          asked.out or "sqlite://")  # fmt: skip
        workers = asked.workers if asked.model.startswith("http") else 1
        results = tried(setting, questions, arms, asked.seeds, workers)
    title = f"{model.id} on {asked.task}; questions: {len(questions)}, orders: {asked.seeds}"
    Console(width=130).print(table_of(results, title))
    if asked.json:
        asked.json.write_text(json.dumps([one.told for one in results], indent=1) + "\n")


def _least(least: int) -> Callable[[str], int]:
    """A number of at least so much."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"needed {least} or more, found {text!r}")
        return int(text)

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench trial", description=__doc__)
    add = parser.add_argument
    add("--store", default="sqlite:///backcast.db", help="where the code base is imported")
    add("--task", required=True, help="its task")
    add("--model", required=True, metavar="NAME", help="llama:FILE, http://HOST:PORT/v1, ...")
    add("--profile", help="of a server that does not tell its window")
    add("--tokenizer", default="mistral-v3", help="whose tokens are counted")
    add("--questions", type=Path, metavar="FILE", help="JSON lines: question, answers")
    add(
        "--make",
        type=_least(1),
        default=20,
        metavar="N",
        help="or so many that the graph can answer",
    )
    add("--arm", action="append", choices=list(ARMS), help="only these; repeatable")
    add("--seeds", type=_least(1), default=2, help="orders of the questions, the same for all arms")
    add("--tokens", type=_least(100), default=1_024, help="of the notes")
    add("--room", type=_least(2_000), default=6_000, help="of a prompt")
    add("--policy", default="default", help="whose table `map` is used")
    add("--workers", type=_least(1), default=4, help="questions at a time, of a server")
    add("--out", metavar="FOLDER", help="where the logs are left: an empty one")
    add("--json", type=Path, metavar="FILE", help="write everything to a file")
    return parser


if __name__ == "__main__":
    main()
