"""Which of some tiny tasks does a small model with real weights solve, from its first answer?

Each is one function, named in a sentence, with one or two asserts; half are others by further
names. What SmolLM2 solves by three names stands in fixtures/specs/small, with the policy
that was found by trying seventeen on tasks of these: the share says what such a model can do at
best. The control is the default policy, which shows no example.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.errors import ModelError
from backcast.domain.policy import Policy
from backcast.engine.context.policies import policy_named
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.store import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message, Model
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from backcast.projections import progress
from scripts.benches.figures import ROOT, Bench, Figure
from tests.models import SMOLLM2

ANSWER = 200
"Tokens of an answer: what has not ended by then goes round in circles."
TASKS = """
numbers_.py | is_even(n) tells whether a number is even | is_even(4) | not is_even(7)
letters.py | count_vowels(text) counts the vowels of a text | count_vowels('hello') == 2
most.py | largest(numbers) returns the largest number of a list | largest([3, 9, 2]) == 9
words.py | reverse(text) returns the text backwards | reverse('abc') == 'cba'
same.py | is_palindrome(text) tells whether a text reads the same backwards \
| is_palindrome('level') | not is_palindrome('lever')
counting.py | count_words(text) returns the number of words of a text \
| count_words('one two three') == 3
parity.py | is_odd(n) tells whether a number is odd | is_odd(7) | not is_odd(4)
least.py | smallest(numbers) returns the smallest number of a list | smallest([3, 9, 2]) == 2
halves.py | divides_by_two(number) tells whether a number is even \
| divides_by_two(10) | not divides_by_two(3)
checks.py | even(value) tells whether a number is even | even(2) | not even(5)
top.py | highest(scores) returns the largest number of a list | highest([10, 40, 20]) == 40
peaks.py | peak(values) returns the largest number of a list | peak([1, 8, 5]) == 8
sounds.py | vowels_in(word) counts the vowels of a word | vowels_in('banana') == 3
speech.py | number_of_vowels(sentence) counts the vowels of a text \
| number_of_vowels('good day') == 3
mirror.py | is_mirrored(word) tells whether a word reads the same backwards \
| is_mirrored('noon') | not is_mirrored('moon')
twins.py | reads_both_ways(line) tells whether a text reads the same backwards \
| reads_both_ways('radar') | not reads_both_ways('radio')
symmetry.py | is_symmetric(word) tells whether a word reads the same backwards \
| is_symmetric('civic') | not is_symmetric('civil')
words.py | is_palindromic(word) tells whether a word reads the same backwards \
| is_palindromic('kayak') | not is_palindromic('canoe')
fact.py | factorial(n) returns the factorial of a number | factorial(5) == 120
powers.py | square(n) returns the square of a number | square(5) == 25
totals.py | total(numbers) returns the sum of a list of numbers | total([1, 2, 3]) == 6
shapes.py | area(width, height) returns the area of a rectangle | area(3, 4) == 12
sums.py | add(a, b) returns the sum of two numbers | add(2, 3) == 5
averages.py | mean(numbers) returns the average of a list of numbers | mean([2, 4, 6]) == 4
signs.py | is_positive(n) tells whether a number is above zero \
| is_positive(4) | not is_positive(-4)
cases.py | shout(text) returns the text in capital letters | shout('abc') == 'ABC'
"""


class FirstAnswer:
    """A model that answers once, and then no more."""

    def __init__(self, model: Model, most: int = ANSWER) -> None:
        self.id, self._model, self._most = model.id, model, most
        self.answer: Completion | None = None

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return its answer to the first prompt; `ModelError` for any other."""
        if self.answer:
            raise ModelError("it was asked once", "refused")
        short = limits._replace(max_tokens=self._most)
        self.answer = self._model.complete(messages, short, schema=schema, stop=stop, call=call)
        return self.answer


class Tried(NamedTuple):
    """A task that was tried."""

    name: str
    solved: bool
    seconds: float


def specs(more: str = "") -> Iterator[Spec]:
    """The specifications of the tasks, and of further ones."""
    for line in (TASKS + more.lstrip()).strip().splitlines():
        path, purpose, *asserts = (part.strip() for part in line.split("|"))
        name = purpose.partition("(")[0]
        body = "".join(f"    assert {one}\n" for one in asserts)
        source = f"from {path[:-3]} import {name}\n\n\ndef test_it():\n{body}"
        yield Spec(
            task=name, goal="Write a Python function",
            modules=(SpecModule(path=path, purpose=purpose),),
            tests=(Test(path=f"test_{path}", source=source),), limits=RunLimits(looks=0),
        )  # fmt: skip


def tried(runtime: Runtime, spec: Spec, policy: Policy) -> Tried:
    """Try one task in a store of its own, so that no task is shown another."""
    began = monotonic()
    with TemporaryDirectory() as folder, EventStore.open("sqlite://") as store:
        start(store, spec)
        asked = runtime._replace(model=FirstAnswer(runtime.model), policy=policy, out=folder)
        with suppress(ModelError):
            work(store, spec.task, asked)
        state: progress.State = state_at(store, progress, spec.task)
    return Tried(spec.task, state.status == "complete", monotonic() - began)


def measure(bench: Bench) -> list[Figure]:
    """Try each task once under each policy."""
    runtime = open_runtime(f"llama:{SMOLLM2}")
    small = ROOT / "fixtures/specs/small/policy.toml"
    figures = []
    for policy in (policy_named(str(small)), policy_named("default")):
        found = [tried(runtime, spec, policy) for spec in specs()]
        names = ", ".join(one.name for one in found if one.solved) or "none"
        seconds = sum(one.seconds for one in found) / len(found)
        figures.append(
            Figure("solve", f"policy {policy.name}: tasks solved by the first answer",
                   (100 * sum(one.solved for one in found) / len(found),), "%",
                   f"{sum(one.solved for one in found)} of {len(found)}: {names}",
                   f"{seconds:.1f} s a task")
        )  # fmt: skip
    return figures
