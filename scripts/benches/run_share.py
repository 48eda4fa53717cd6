"""The engine's own share of a step: its time beside the fastest answer of a model on this machine.

The model is the smallest one with real weights at hand, in process by llama.cpp. It is asked one
short question at a time, whose beginning it has in its cache, and a grammar lets it answer `true`
or `false` in a closed object: no answer to a step is shorter. Beside it stands the answer to the
first prompt of the run itself, of as few tokens. Run and model take turns.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from backcast.domain.errors import ModelError
from backcast.engine.models import Limits, Message
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.places import model_file
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.run_steps import LONG, SHORT, outside
from tests.models import SMOLLM2

ROUNDS, ANSWERS = 3, 20
THREADS = (1, None)
"Of llama.cpp, the faster of the two counts; None for its own choice."
WINDOW, TOKENS = 8_192, 12
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}},
    "required": ["done"],
    "additionalProperties": False,
}
SHARE = Bound("<=", 10)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    project = LONG if bench.full else SHORT
    group = f"the engine's share, {project.steps:,} steps, {SMOLLM2}"
    try:
        models = [LlamaModel(model_file(SMOLLM2), WINDOW, threads=one) for one in THREADS]
    except (ImportError, OSError, ModelError) as error:
        return [Figure(group, "a step, of the fastest answer", why=f"needed a model: {error}")]
    shares, own, answers = list[float](), list[float](), list[float]()
    for number in range(ROUNDS):
        bench.say(f"round {number + 1}: a run of {project.steps:,} steps, {ANSWERS} answers")
        folder = bench.folder / f"share-{number}"
        folder.mkdir()
        run = outside(folder, project)
        own.append(1000 * median(step.seconds for step in run.steps[1:]))
        answers.append(1000 * min(map(fastest, models)))
        shares.append(100 * own[-1] / answers[-1])
    bench.say("an answer to a prompt of the run")
    asked = min(_seconds(model, run.asked) for model in models)
    return [
        Figure(group, "a step, of the fastest answer", shares, "%",
               f"{median(own):.1f} ms a step", f"{median(answers):.0f} ms an answer", must=SHARE),
        Figure(group, "a step, of an answer to the run's first prompt",
               [median(own) / asked / 10], "%", control=f"{asked:.1f} s an answer"),
    ]  # fmt: skip


def fastest(model: LlamaModel, clock: Callable[[], float] = perf_counter) -> float:
    """Return the median seconds of short answers by a clock; the first one is dropped."""
    questions = ([Message("user", f"Is {number} even?")] for number in range(ANSWERS + 1))
    return median([_seconds(model, messages, clock) for messages in questions][1:])


def _seconds(
    model: LlamaModel, messages: list[Message], clock: Callable[[], float] = perf_counter
) -> float:
    begin = clock()
    model.complete(messages, Limits(TOKENS), schema=SCHEMA)
    return clock() - begin
