"""What do our own words in a prompt cost, and what are they worth? Two policies, word by word.

Tokens of our words in the first prompt of each tiny task, as Mistral's vocabulary counts them; how
likely recorded code is behind prompts in either words; and how many of 40 first answers have
the form that was asked for: the engine's parser takes a file from them, whether tests pass or not.
Nats do not see the form, and an answer that cannot be used is worth nothing however likely it was.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.policy import Policy
from backcast.domain.texts import SHORT_WORDS
from backcast.engine.context.policies import policy_named
from backcast.engine.context.rendering import RenderItem
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.places import model_file
from backcast.engine.models.tokenizers import Encodes, tokenizer_of
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.instructions import tokens_of
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.score import ScorePlan, reading_profile
from backcast.engine.replay.score_jobs import StepScore
from backcast.engine.replay.score_run import Scoring
from backcast.engine.workflow.code_answers import code_of
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.engine.workflow.said import said
from backcast.engine.workflow.spec import Spec
from scripts.benches.figures import ROOT, Bench, Figure
from scripts.benches.paired import pooled
from scripts.benches.solve import FirstAnswer, specs
from tests.models import SMOLLM2

ANSWER = 120
"Tokens of an answer: a tiny function and its fence are fewer, and what goes on goes in circles."
CONTEXT = 300
"Tokens of the code in a prompt behind which recorded code is read."
LOGS = ("till", "validators", "palindrome")
MORE = """
ends.py | last(items) returns the last item of a list | last([1, 2, 3]) == 3
starts.py | first(items) returns the first item of a list | first([1, 2, 3]) == 1
doubles.py | double(n) returns twice a number | double(4) == 8
triples.py | thrice(n) returns three times a number | thrice(3) == 9
cubes.py | cube(n) returns the cube of a number | cube(2) == 8
smalls.py | whisper(text) returns the text in small letters | whisper('ABC') == 'abc'
lengths.py | length(text) returns the number of characters of a text | length('four') == 4
joins.py | join(words) returns the words as one text with spaces between \
| join(['a', 'b']) == 'a b'
splits.py | split(text) returns the list of words of a text | split('a b') == ['a', 'b']
sorts.py | ordered(numbers) returns the numbers from small to large | ordered([2, 1]) == [1, 2]
negatives.py | is_negative(n) tells whether a number is below zero \
| is_negative(-1) | not is_negative(1)
differences.py | subtract(a, b) returns the first number less the second | subtract(5, 3) == 2
products.py | multiply(a, b) returns the product of two numbers | multiply(2, 3) == 6
greetings.py | greet(name) returns Hello and the name | greet('Ann') == 'Hello Ann'
"""
"Further tasks, for 40 in all."


class Answered(NamedTuple):
    """A first answer to a task."""

    usable: bool
    "Whether the engine's parser takes a file from it."
    ended: bool
    "Whether it ended by itself, without which a run does not use it either."
    words: int
    "Tokens of our words in its prompt."


def add_options(parser: ArgumentParser) -> None:
    """Add the policies, and who reads and answers."""
    add = parser.add_argument
    add("--model", metavar="llama:FILE", default=f"llama:{SMOLLM2}", help="form: who reads")
    add("--policy", action="append", metavar="NAME_OR_FILE", default=None,
        help="form: two policies; the default's, in its words and in short ones")  # fmt: skip
    add("--tasks", type=int, default=40, metavar="N", help="form: the first N tasks")


def answered(runtime: Runtime, spec: Spec, policy: Policy, counting: Encodes) -> Answered:
    """Have one task's first prompt answered, in a store of its own."""
    with TemporaryDirectory() as folder, EventStore.open("sqlite://") as store:
        start(store, spec)
        model = FirstAnswer(runtime.model, ANSWER)
        with suppress(ModelError):
            work(store, spec.task, runtime._replace(model=model, policy=policy, out=folder))
        [prompt] = [event.fact for event in store.read(spec.task, types=["CONTEXT_BUILT"])][:1]
        assert isinstance(prompt, ContextBuilt)
        assert model.answer is not None
        items = [
            RenderItem(item.node, item.section, store.get(item.text or "").decode(), item.level)
            for item in prompt.items
        ]
    words = tokens_of(items, policy, "mistral", counting)["all"]
    return Answered(_usable(model.answer.text, spec), model.answer.finish != "length", words)


def _usable(text: str, spec: Spec) -> bool:
    """Return whether the engine's parser takes a module's file from an answer."""
    try:
        return bool(code_of(said(text).text, spec.modules[0].path, 1).files)
    except RefusedError:
        return False


def read(model: str, policies: Sequence[Policy]) -> list[StepScore]:
    """Read recorded code behind the prompts of some policies."""
    path = model_file(model.removeprefix("llama:"))
    profile = reading_profile(path, CONTEXT)
    reader = LikelihoodReader(path, profile.window)
    plan = ScorePlan(reader, [Setting(one.name, one) for one in policies], profile)
    with ExitStack() as stack, TemporaryDirectory() as folder:
        logs = [
            stack.enter_context(opened(str(ROOT / f"fixtures/logs/{name}.jsonl"))) for name in LOGS
        ]
        plan.add(logs)
        books = {log.name: ScoreBook(log.store, ROOT / folder / "scores") for log in logs}
        scoring = Scoring(plan, books)
        scoring.run()
    return scoring.steps


def _beside(steps: Sequence[StepScore], number: int) -> str:
    """Return by how many nats per token a policy's steps differ from the first policy's."""
    pairs = [(step.sums(number, new=True), step.sums(0, new=True)) for step in steps]
    per_token = [(one.nats - first.nats) / first.tokens for one, first in pairs if first.tokens]
    mean, low, high = pooled([np.array(per_token)])
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] a step to the first policy"


def measure(bench: Bench) -> list[Figure]:
    """Count, read and ask under each policy."""
    names, short = bench.options.policy or [], Policy(name="short", **SHORT_WORDS)
    policies = [policy_named(name) for name in names] or [policy_named("default"), short]
    tasks = list(specs(MORE))[: bench.options.tasks]
    counting = tokenizer_of(MISTRAL_7B_8K.tokenizer)
    bench.say("recorded code behind the prompts of each policy")
    steps = read(bench.options.model, policies)
    runtime = open_runtime(bench.options.model)
    figures = []
    for number, policy in enumerate(policies):
        bench.say(f"{len(tasks)} first answers under {policy.name}")
        found = [answered(runtime, spec, policy, counting) for spec in tasks]
        usable = sum(one.usable for one in found)
        sums = [step.sums(number, new=True) for step in steps]
        tokens, nats = sum(one.tokens for one in sums), sum(one.nats for one in sums)
        figures += [
            Figure("form", f"policy {policy.name}: tokens of our words in a prompt",
                   (sum(one.words for one in found) / len(found),), "tokens"),
            Figure("form", f"policy {policy.name}: nats per token of recorded code's new lines",
                   (nats / tokens,), "nats", f"{tokens} tokens of {len(steps)} steps",
                   _beside(steps, number) if number else ""),
            Figure("form", f"policy {policy.name}: first answers that can be used",
                   (100 * usable / len(found),), "%", f"{usable} of {len(found)}",
                   f"{sum(one.usable and one.ended for one in found)} of them ended by then"),
        ]  # fmt: skip
    return figures
