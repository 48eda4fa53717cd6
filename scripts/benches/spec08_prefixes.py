"""Prompts that begin alike, beside the same calls as a server or a model takes them by itself.

Questions about a few sources come in waves: in each wave all are about one source, and sources
come again. The control makes the same calls at the same concurrency, without a registry. Each is
made by a server, or a model, that has read nothing yet; whether a prompt was in its cache is what
it reports. Reading ahead is given to none of these: it is measured apart.
"""

import os
import socket
import subprocess
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from backcast.engine.models import Completion, Limits, Message
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.kept_states import MIB, StateCaps
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.places import model_file
from backcast.engine.models.server import ServerModel
from backcast.engine.models.threads import threads_free
from backcast.engine.models.warming import AskedPrompt, PrefixScheduler
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from scripts.benches.figures import Bench, Bound, Figure, ratios
from scripts.benches.spec08_latency import SERVER, SMOLLM2

WAVES = ("ab", "ac")
"Sources by which waves go; the second round meets one of the first again."
SIBLINGS, ANSWER, LINES = 4, 8, 22
"Questions of a wave, tokens of an answer, and lines of a source (about 360 tokens)."
SYSTEM = "You answer questions about source code in one short sentence."


class AskedWaves(NamedTuple):
    """What the calls of all waves have cost."""

    prompt: int
    "Tokens of all prompts."
    read: int
    "Of these, and of what was read before them, tokens that were read."
    hits: int
    "Calls of whose prompt half or more was in the cache."
    calls: int
    seconds: float
    processor: float
    "Seconds of the server's process."
    answers: tuple[str, ...]


def add_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--weights", default=SMOLLM2, help="the model file of the prefixes")
    add("--prefix-rounds", type=int, default=3, help="rounds of each comparison of prefixes")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    file, rounds = model_file(bench.options.weights), bench.options.prefix_rounds
    if not file.exists():
        return [Figure("prefixes", "all", why=f"needs {file.name}: scripts/install all")]
    figures = list(_in_process(bench, file, rounds))
    if not SERVER.exists():
        return [*figures, Figure("prefixes", "servers", why="needs llama-server")]
    for slots, kinds in ((4, ("copied slots", "one slot after the other")), (1, ("in order",))):
        figures += _served(bench, file, rounds, slots, kinds)
    return [*figures, *_latency(bench, file, rounds)]


def prompt_of(source: str, number: int) -> list[Message]:
    lines = [f"def {source}_{n}(x): return x * {n} + {n % 7}" for n in range(LINES)]
    question = f"What does {source}_{number} return for 1?"
    return [Message("system", SYSTEM), Message("user", "\n".join([*lines, question]))]


def waves(slots: int) -> list[list[list[Message]]]:
    """Return the prompts of each wave; with one slot two sources stand in turn in each wave."""
    found = []
    for number, sources in enumerate(WAVES):
        if slots == 1:
            found.append([
                prompt_of(source, number * SIBLINGS + n)
                for n in range(SIBLINGS) for source in sources
            ])  # fmt: skip
            continue
        for source in sources:
            found.append([prompt_of(source, number * SIBLINGS + n) for n in range(SIBLINGS)])
    return found


# Servers


def _served(
    bench: Bench, file: Path, rounds: int, slots: int, kinds: Sequence[str]
) -> Iterator[Figure]:
    group = f"prefixes, llama-server with {slots} slot{'s' * (slots > 1)}"
    taken: dict[str, list[AskedWaves]] = {kind: [] for kind in ("control", *kinds)}
    for number in range(rounds):
        for kind in taken:
            bench.say(f"{group}: {kind}, round {number + 1} of {rounds}")
            with server(bench.folder, file, slots, saves=kind == "copied slots") as (url, pid):
                taken[kind].append(
                    ask_waves(ServerModel(url), pid, waves(slots), slots, placed=kind != "control")
                )
    control = taken["control"]
    for kind in kinds:
        ours = taken[kind]
        count = f"{ours[0].calls} calls of {ours[0].prompt // ours[0].calls} tokens"
        shares, theirs = ([100 * one.hits / one.calls for one in runs] for runs in (ours, control))
        yield Figure(group, f"{kind}: hits", shares, "%", count,
                     f"the server by itself {median(theirs):.0f} %",
                     Bound(">=", 50), Bound(">=", 85) if slots > 1 else None)  # fmt: skip
        for what, must in (("read", Bound("<=", 0.5)), ("processor", None), ("seconds", None)):
            mine, other = ([getattr(one, what) for one in runs] for runs in (ours, control))
            name = {"read": "tokens read", "processor": "processor time", "seconds": "time"}[what]
            yield Figure(group, f"{kind}: {name}, of the control's", ratios(mine, other), "x",
                         in_words(mine, what), in_words(other, what),
                         must if slots > 1 else None)  # fmt: skip


def ask_waves(
    model: ServerModel,
    pid: int,
    prompts: Sequence[Sequence[list[Message]]],
    slots: int,
    *,
    placed: bool,
) -> AskedWaves:
    """Ask waves of prompts one after the other, those of a wave at once, one a slot."""
    scheduler = PrefixScheduler(model)
    answers: dict[int, Completion] = {}
    began, before, warmed, number = time.monotonic(), processor(pid), 0, 0
    for wave in prompts:
        ready = [
            AskedPrompt(number + n, messages, Limits(ANSWER), 500)
            for n, messages in enumerate(wave)
        ]
        number += len(ready)
        where: dict[int, int] = {}
        if placed:
            found = scheduler.place(ready, slots)
            order = {call: place for place, call in enumerate(found.order)}
            ready.sort(key=lambda prompt: order[prompt.id])
            where, warmed = found.slots, warmed + sum(fact.fresh or 0 for fact in found.facts)

        def report(ended: EndedCall) -> None:
            if ended.error or ended.answer is None:
                raise ended.error or AssertionError(ended)
            answers[ended.call.id] = ended.answer
            scheduler.ended(ended.call.id, ended.answer)

        run_calls([_race(model, prompt, where.get(prompt.id)) for prompt in ready], report, slots)
    return _summed(answers, warmed, time.monotonic() - began, processor(pid) - before)


def _race(model: ServerModel, prompt: AskedPrompt, slot: int | None) -> Race:
    def ask(cancellation: Cancellation) -> Completion:
        limits = prompt.limits._replace(cancellation=cancellation, slot=slot)
        return model.complete(prompt.messages, limits)

    return Race([SideCall(prompt.id, ask, prompt.limits.seconds, queue=slot)])


def _summed(
    answers: dict[int, Completion], warmed: int, seconds: float, processed: float
) -> AskedWaves:
    every = [answers[number] for number in sorted(answers)]
    prompt, cached = ([getattr(one, name) or 0 for one in every]
                      for name in ("prompt_tokens", "cached_tokens"))  # fmt: skip
    hits = sum(2 * had >= of for had, of in zip(cached, prompt, strict=True))
    return AskedWaves(
        sum(prompt), sum(prompt) - sum(cached) + warmed, hits, len(every), seconds, processed,
        tuple(one.text for one in every),
    )  # fmt: skip


def _latency(bench: Bench, file: Path, rounds: int) -> Iterator[Figure]:
    bench.say("a question whose source the server has read, beside one that it has not")
    missed, hit = list[float](), list[float]()
    with server(bench.folder, file, 1) as (url, _):
        model = ServerModel(url)
        for number in range(rounds):
            for times, question in ((missed, 0), (hit, 1)):
                answer = model.complete(prompt_of(f"w{number}", question), Limits(ANSWER))
                times.append(answer.seconds or 0.0)
    less = [100 * (1 - a / b) for a, b in zip(hit, missed, strict=True)]
    yield Figure(
        "prefixes, llama-server with 1 slot", "latency of a hit, less than of a miss", less, "%",
        f"{median(hit):.2f} s", f"a miss {median(missed):.2f} s", Bound(">=", 30),
    )  # fmt: skip


def in_words(values: Sequence[float], what: str) -> str:
    """Return the median of what calls have cost, with its unit."""
    value = median(values)
    return f"{value:,.0f} tokens" if what == "read" else f"{value:,.1f} s"


# In process


def _in_process(bench: Bench, file: Path, rounds: int) -> Iterator[Figure]:
    group = "prefixes, llama.cpp in process"
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    kinds: dict[str, Callable[[int], StateCaps]] = {
        "control": lambda number: StateCaps(),
        "kept in memory": lambda number: StateCaps(memory=256 * MIB),
        "kept on disk": lambda number: StateCaps(disk=256 * MIB, folder=folder / str(number)),
    }
    taken: dict[str, list[AskedWaves]] = {kind: [] for kind in kinds}
    times: dict[str, tuple[list[float], list[float]]] = {kind: ([], []) for kind in kinds}
    for number in range(rounds):
        for kind, caps in kinds.items():
            bench.say(f"{group}: {kind}, round {number + 1} of {rounds}")
            model = LlamaModel(file, 2_048, threads=1, keeps=caps(number))
            taken[kind].append(_turns(model, times[kind]))
            model.loaded.llm.close()
    control = taken["control"]
    if any(one.answers != control[0].answers for runs in taken.values() for one in runs):
        yield Figure(group, "the same answers", why="answers differ with states taken up")
        return
    for kind in list(kinds)[1:]:
        ours = taken[kind]
        hits, theirs = ([100 * one.hits / one.calls for one in runs] for runs in (ours, control))
        count = f"{ours[0].calls} calls of {ours[0].prompt // ours[0].calls} tokens"
        alone = f"the prompt before alone {median(theirs):.0f} %"
        yield Figure(group, f"{kind}: hits, sources in turn", hits, "%", count, alone,
                     Bound(">=", 50))  # fmt: skip
        for what, name in (("read", "tokens read"), ("processor", "processor time")):
            mine, other = ([getattr(one, what) for one in runs] for runs in (ours, control))
            yield Figure(group, f"{kind}: {name}, of the control's", ratios(mine, other), "x",
                         in_words(mine, what), in_words(other, what),
                         Bound("<=", 0.5) if what == "read" else None)  # fmt: skip
        hit, missed = times[kind]
        less = 100 * (1 - median(hit) / median(missed))
        yield Figure(group, f"{kind}: latency of a hit, less than of a miss", [less], "%",
                     f"{median(hit):.2f} s", f"a miss {median(missed):.2f} s",
                     Bound(">=", 30))  # fmt: skip


def _turns(model: LlamaModel, times: tuple[list[float], list[float]]) -> AskedWaves:
    """Ask about sources in turn, so that each prompt loses what the one before had read."""
    answers: dict[int, Completion] = {}
    began, before = time.monotonic(), time.process_time()
    for n in range(SIBLINGS):
        for source in "abc":
            said = model.complete(prompt_of(source, n), Limits(ANSWER))
            hit = 2 * (said.cached_tokens or 0) >= (said.prompt_tokens or 0)
            times[not hit].append(said.seconds or 0.0)
            answers[len(answers)] = said
    return _summed(answers, 0, time.monotonic() - began, time.process_time() - before)


# A server of its own for each


def processor(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(
    folder: Path, file: Path, slots: int, *, saves: bool = False, window: int = 1_024
) -> Iterator[tuple[str, int]]:
    """Start a llama-server that has read nothing, and yield its URL and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(SERVER), "-m", str(file), "--host", "127.0.0.1", "--port", port, "--slots"]
    command += ["-c", str(window * slots), "-np", str(slots), "--threads", str(threads_free())]
    with tempfile.TemporaryDirectory(dir=folder) as states, tempfile.TemporaryFile() as out:
        command += ["--slot-save-path", f"{states}/"] if saves else []
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            ServerModel(f"http://127.0.0.1:{port}", patience=60)  # which waits while it loads
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
