"""A model's answers about a code base, with maps and other notes, beside no notes.

A model gets many questions about one code base, one after the other; an arm's notes stand above
each, and after each the arm may learn. Every arm gets the same questions in the same order, side by
side, so that a bad hour of a machine or a server hits all. Each question is a task in a log, for
`backcast log --json` and `cat`; the code base itself is not in it, so that `backcast map show`
calls the items of such a log stale. The figures are about this model and these questions; a model
of random weights shows that the bench runs, and no more.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from backcast.domain.context_map import Tokens
from backcast.domain.errors import InputError
from backcast.domain.policy import MapSettings
from backcast.engine.context.policies import policy_named
from backcast.engine.interfaces.asked import model_asked
from backcast.engine.log.store import EventStore
from backcast.engine.models import Model
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.figures import Bench, Figure
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
        """Ask the next question, and let the arm learn from it."""
        question = self.order[number]
        notes = self.arm.notes(question.text)
        task = f"{self.arm.name}: {self.seed}: {number + 1}"
        outcome = self.asking.ask(task, question, notes)
        self.arm.learn(outcome)
        return outcome


class Setting(NamedTuple):
    """The circumstances that all ways share."""

    world: World
    model: Model
    count: Tokens
    tokens: int
    room: int
    settings: MapSettings
    out: str = "sqlite://"
    "The folder for the logs; by default they are not kept."

    def way(self, name: str, seed: int, questions: Sequence[Question]) -> Way:
        """Return an arm before the first question."""
        kept = not self.out.startswith("sqlite")
        stem = "".join(char if char.isalnum() else "-" for char in f"{name}-{seed}")
        log = EventStore.open(f"sqlite:///{self.out}/{stem}.db" if kept else self.out)
        given = Given(self.world, self.model, self.count, self.tokens, log, self.settings)
        asking = Asking(self.world, self.model, self.count, self.room, log)
        order = list(questions)
        random.Random(seed).shuffle(order)
        return Way(ARMS[name](given), asking, seed, order)


class Result(NamedTuple):
    """The outcomes of an arm by seed and question, and the cost of its notes."""

    name: str
    outcomes: dict[tuple[int, Question], Outcome]
    kept: Cost

    @property
    def summary(self) -> dict[str, Any]:
        """The means and all questions, for JSON."""
        return {
            "arm": self.name,
            "score": mean(one.score for one in self.outcomes.values()),
            "steps": mean(one.steps for one in self.outcomes.values()),
            "tokens": self.tokens,
            "kept": self.kept.tokens / len(self.outcomes),
            "questions": [
                {"seed": seed, "question": question.text, "answers": outcome.answers,
                 "score": outcome.score, "steps": outcome.steps, "tokens": outcome.cost.tokens}
                for (seed, question), outcome in self.outcomes.items()
            ],
        }  # fmt: skip

    @property
    def tokens(self) -> float:
        """The mean tokens of a question, those for the notes among them."""
        asked = sum(one.cost.tokens for one in self.outcomes.values())
        return (asked + self.kept.tokens) / len(self.outcomes)


def tried(
    setting: Setting, questions: Sequence[Question], arms: Sequence[str], seeds: int, workers: int
) -> list[Result]:
    """Try every arm on every order of the questions, in step: one question of each at a time."""
    ways = [setting.way(name, seed, questions) for seed in range(seeds) for name in arms]
    outcomes: list[list[Outcome]] = [[] for _ in ways]
    with ThreadPoolExecutor(workers) as pool:
        for number in track(range(len(questions)), "asking", console=Console(stderr=True)):
            steps = pool.map(lambda way, number=number: way.step(number), ways)
            for series, outcome in zip(outcomes, steps, strict=True):
                series.append(outcome)
    return [_result(name, ways, outcomes) for name in arms]


def _result(name: str, ways: Sequence[Way], outcomes: Sequence[Sequence[Outcome]]) -> Result:
    by_question: dict[tuple[int, Question], Outcome] = {}
    kept = Cost()
    for way, series in zip(ways, outcomes, strict=True):
        if way.arm.name == name:
            by_question |= {(way.seed, outcome.question): outcome for outcome in series}
            kept.add(way.arm.cost.prompt, way.arm.cost.answer)
    return Result(name, by_question, kept)


def against(result: Result, bare: Result) -> tuple[float, float, float]:
    """Return by how much an arm scores better than no notes, and the ends of the 95 % interval."""
    pairs = [one.score - bare.outcomes[key].score for key, one in result.outcomes.items()]
    return pooled([np.array(pairs)])


def figures_of(results: Sequence[Result], group: str) -> list[Figure]:
    """Return a row for each arm."""
    bare = next(result for result in results if result.name == Nothing.name)
    figures = []
    for result in results:
        means = result.summary
        by, low, high = (100 * value for value in against(result, bare))
        cost = f"{means['steps']:.2f} steps, {result.tokens:,.0f} tokens a question"
        beside = f"{result.tokens / bare.tokens:.2f}x the tokens of no map"
        figures.append(Figure(
            group, f"{result.name}: score", [100 * means["score"]], "%",
            f"{cost}, {means['kept']:,.0f} of these to keep the notes",
            f"{by:+.1f} points ({low:+.1f} to {high:+.1f}), {beside}", details=means,
        ))  # fmt: skip
    return figures


def measure(bench: Bench) -> list[Figure]:
    """Compare the arms that the options name."""
    asked = bench.options
    count = tokenizer_of(asked.tokenizer).count
    model = model_asked("--model", asked.model, asked.profile)
    arms = [Nothing.name, *(name for name in asked.arm or ARMS if name != Nothing.name)]
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
    return figures_of(results, title)


def _least(least: int) -> Callable[[str], int]:
    """Return a parser of numbers of `least` or more."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"needed {least} or more, found {text!r}")
        return int(text)

    return number


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench alone."""
    add = parser.add_argument
    add("--store", default="sqlite:///backcast.db", help="the store with the code base")
    add("--task", required=True, help="the code base's task")
    add("--model", required=True, metavar="NAME", help="llama:FILE, http://HOST:PORT/v1, ...")
    add("--profile", help="the profile of a server that does not report its window")
    add("--tokenizer", default="mistral-v3", help="the tokenizer that counts")
    add("--questions", type=Path, metavar="FILE", help="JSON lines: question, answers")
    add("--make", type=_least(1), default=20, metavar="N", help="or N questions of its graph")
    add("--arm", action="append", choices=list(ARMS), help="only these arms; may be repeated")
    add("--seeds", type=_least(1), default=2, help="orders of the questions, the same for all arms")
    add("--tokens", type=_least(100), default=1_024, help="tokens of the notes")
    add("--room", type=_least(2_000), default=6_000, help="tokens of a prompt")
    add("--policy", default="default", help="the policy with the table `map`")
    add("--workers", type=_least(1), default=4, help="questions at a time, for a server")
    add("--out", metavar="FOLDER", help="an empty folder for the logs")
