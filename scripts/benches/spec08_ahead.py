"""A run that reads its next prompts while checks run, beside the same run that does not.

Both go through one recorded run: its specification, its checks in the sandbox, its answers. A real
server reads each prompt and answers with a few tokens, in whose place the recorded answer is used:
so both ask the same prompts, some checks fail as they failed then, and what a call had not to read
is what the server says.
"""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.events import ModelReplied
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.models import Call, Completion, Limits, Message
from backcast.engine.models.places import model_file
from backcast.engine.models.server import ServerModel
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.recorded_run import RecordedRun
from backcast.engine.workflow.runtime import Runtime, used_before
from backcast.engine.workflow.spec import spec_at
from backcast.projections import prefixes
from scripts.benches.figures import ROOT, Bench, Figure, ratios
from scripts.benches.spec08_latency import SERVER
from scripts.benches.spec08_prefixes import in_words, processor, server

SLOTS, WINDOW, ANSWER = 2, 4_096, 4
"Slots of the server, the tokens of each, and the tokens of an answer."


class AheadRun(NamedTuple):
    """What the prompts of a run have cost."""

    calls: int
    prompt: int
    "Tokens of all prompts."
    read: int
    "Of these, tokens that calls had to read."
    ahead: int
    "Tokens that were read before they were asked for."
    warmed: int
    "Prompts of which that much was read."
    used: int
    "Of these, those of which the call that came had something in the cache."
    saved: int
    "Tokens of prompts that were read ahead, and that calls had in the cache."
    cut: int
    "Prompts whose reading a call ended."
    seconds: float
    "Of all answers."
    processor: float
    "Seconds of the server's process."


def add_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--ahead-run", default="till", help="the recorded run whose prompts are read ahead")
    add("--ahead-rounds", type=int, default=1, help="rounds of the run that reads ahead")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    file = model_file(bench.options.weights)
    if not (SERVER.exists() and file.exists()):
        return [Figure("read ahead", "all", why=f"needs llama-server and {file.name}")]
    taken: dict[str, list[AheadRun]] = {"shared": [], "ahead": []}
    for number in range(bench.options.ahead_rounds):
        for warming, runs in taken.items():
            bench.say(f"a run that warms {warming!r}, round {number + 1}")
            runs.append(_ran(bench, file, warming))
    return list(_rows(bench, taken["ahead"], taken["shared"]))


def _ran(bench: Bench, file: Path, warming: str) -> AheadRun:
    name = bench.options.ahead_run
    log = ROOT / f"fixtures/logs/{name}.jsonl"
    with (
        server(bench.folder, file, SLOTS, window=WINDOW) as (url, pid),
        EventStore.open("sqlite://") as store,
    ):
        recorded, model = RecordedRun(log), ServerModel(url)
        before = used_before(recorded.store, recorded.task)
        assert before.profile is not None
        model.complete = _answering(model, recorded)  # type: ignore[method-assign]
        runtime = Runtime(model, url, before.profile, before.policy, warming=warming)
        start(store, spec_at(ROOT / f"fixtures/specs/{name}.toml"))
        began = processor(pid)
        ended = work(store, recorded.task, runtime)
        if ended.status != "complete":
            raise AssertionError(f"the run ended as {ended.status}: {ended.reason}")
        return _cost(store, recorded.task, processor(pid) - began)


def _answering(model: ServerModel, recorded: RecordedRun) -> Any:
    """Return what reads a prompt by the server, and answers as the recorded run did."""
    real = model.complete

    def complete(
        messages: Sequence[Message], limits: Limits, *, call: Call, **_: object
    ) -> Completion:
        read = real(messages, limits._replace(max_tokens=ANSWER, thinking=0), call=call)
        known = recorded.complete(messages, limits, call=call)
        return read._replace(
            text=known.text, thinking=known.thinking, finish=known.finish, tokens=known.tokens
        )

    return complete


def _cost(store: EventStore, task: str, processed: float) -> AheadRun:
    replies = [
        event.fact for event in store.read(task, types=["MODEL_REPLIED"])
        if isinstance(event.fact, ModelReplied)
    ]  # fmt: skip
    state: prefixes.State = state_at(store, prefixes, task)
    warmed = [state.warmed[version] for version in sorted(state.warmed)]
    read = [one for one in warmed if one.tokens]
    prompt, cached = (
        sum(getattr(one, name) or 0 for one in replies)
        for name in ("prompt_tokens", "cached_tokens")
    )
    return AheadRun(
        len(replies), prompt, prompt - cached, sum(one.fresh or 0 for one in read), len(read),
        sum(one.used > 0 for one in read), sum(one.saved for one in read),
        len(warmed) - len(read), sum(one.seconds or 0.0 for one in replies), processed,
    )  # fmt: skip


def _rows(bench: Bench, ours: list[AheadRun], control: list[AheadRun]) -> Iterator[Figure]:
    first, name = ours[0], bench.options.ahead_run
    group = f"read ahead, the run of {name}, llama-server with {SLOTS} slots"
    none = "the same run without: none"
    of = f"{first.used} of {first.warmed} ({first.cut} cut by a call), {first.calls} calls"
    used = [100 * one.used / one.warmed for one in ours if one.warmed]
    yield Figure(group, "prompts that were read ahead, and used", used, "%", of, none)
    saved = [100 * one.saved / one.prompt for one in ours]
    what = "tokens of prompts, read ahead and had in the cache"
    yield Figure(group, what, saved, "%", f"{first.saved:,} of {first.prompt:,}", none)
    for field, what in (
        ("read", "tokens that calls had to read"), ("seconds", "seconds of all answers"),
        ("processor", "processor time of the server"),
    ):  # fmt: skip
        mine, other = ([getattr(one, field) for one in runs] for runs in (ours, control))
        yield Figure(group, f"{what}, of the control's", ratios(mine, other), "x",
                     in_words(mine, field), in_words(other, field))  # fmt: skip
    both, other = [one.read + one.ahead for one in ours], [one.read for one in control]
    what = "tokens read together, of the control's"
    words = in_words(both, "read"), in_words(other, "read")
    yield Figure(group, what, ratios(both, other), "x", *words)
