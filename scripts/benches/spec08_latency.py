"""Latency of 12 calls side by side, beside the same calls one after the other.

The injected service time is that of a server with some slots, which takes as long for each call;
the real server reads and writes with all its slots on the cores of this machine. Both take the
same calls in turns.
"""

import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from threading import Semaphore
from typing import Any, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.errors import InputError
from backcast.engine.log import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.places import model_file
from backcast.engine.models.server import ServerModel
from backcast.engine.models.so_far import AnswerSoFar
from backcast.engine.models.threads import threads_free
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import Spec, SpecModule, Test
from scripts.benches.figures import Bench, Bound, Figure, in_turns, ratios

CALLS, SLOTS = 12, 4
SERVICE = 0.25
"Seconds that an injected call takes once it has a slot."
TOKENS = 16
"Tokens of each answer of the real server."
BATCH = 64
"Tokens of a prompt that a server reads at once where losers are to end soon."
GIVEN_UP = 5.0
"Seconds for which it is waited for a server that does not end."
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
SERVER = Path(sys.prefix) / "share/backcast/llama-server"
GROUP = f"{CALLS} calls, {SLOTS} slots"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--part", choices=("injected", "server", "losers", "process"), help="one part alone"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison")


class Served:
    """A double whose calls take a service time, in as many slots as a server has."""

    id = "served"

    def __init__(self) -> None:
        self.slots = Semaphore(SLOTS)

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Answer with the function that the module is to hold."""
        with self.slots:
            time.sleep(SERVICE)
        name = call.module.partition("_")[0]
        return Completion(f"```python\ndef {name}() -> str:\n    return {name!r}\n```\n", 100, 20)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    parts: dict[str, Callable[[Bench, int], Iterable[Figure]]] = {
        "injected": _injected, "server": _real, "losers": _losers, "process": _in_process,
    }  # fmt: skip
    asked, rounds = bench.options.part, bench.options.rounds
    measured = (parts[part](bench, rounds) for part in parts if asked in (None, part))
    return [figure for figures in measured for figure in figures]


def _injected(bench: Bench, rounds: int) -> Iterator[Figure]:
    bench.say(f"{CALLS} injected calls of {SERVICE} s, {SLOTS} at once and one after the other")
    ideal = SERVICE * -(-CALLS // SLOTS)
    served = Served()

    def asks(concurrency: int) -> Callable[[], None]:
        def ask(_: Cancellation) -> Completion:
            return served.complete([], Limits(1))

        races = [Race([SideCall(number, ask, 60)]) for number in range(CALLS)]
        return lambda: run_calls(races, lambda ended: None, concurrency)

    beside, after = in_turns(rounds, asks(SLOTS), asks(1))
    yield _faster("the calls alone", beside, after, ideal, Bound(">=", 3))
    yield _share("the calls alone, of the ideal", beside, ideal)
    beside, after = in_turns(rounds, lambda: _run(SLOTS), lambda: _run(1))
    yield _faster("a run of 12 modules, log and prompts included", beside, after, ideal,
                  Bound(">=", 3))  # fmt: skip
    yield _share("the same run, of the ideal", beside, ideal)


def _faster(
    what: str, beside: Sequence[float], after: Sequence[float], ideal: float, must: Bound | None
) -> Figure:
    return Figure(
        GROUP, f"{what}, times as fast", ratios(after, beside), "x",
        f"{median(beside):.2f} s", f"one after the other, {median(after):.2f} s", must,
        details={"ideal": ideal},
    )  # fmt: skip


def _share(what: str, beside: Sequence[float], ideal: float) -> Figure:
    return Figure(
        GROUP, what, [ideal / one for one in beside], "x", f"{median(beside):.2f} s",
        f"{CALLS} calls in {SLOTS} slots, {ideal:.2f} s", aim=Bound(">=", 0.9),
    )  # fmt: skip


def _run(concurrency: int) -> None:
    """Run a task of modules that need no other."""
    names = [f"f{number}" for number in range(CALLS)]
    modules = [
        SpecModule(path=f"{name}_part.py", purpose=f"part {name}", tests=(f"test_{name}.py",))
        for name in names
    ]
    tests = [Test(path=f"test_{name}.py", source=f"import {name}_part\n") for name in names]
    spec = Spec(task="parts", goal="write parts", modules=tuple(modules), tests=tuple(tests))
    profile = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
    runtime = Runtime(Served(), "served", profile, concurrency=concurrency)
    with EventStore.open("sqlite://") as store:
        start(store, spec)
        if work(store, "parts", runtime, checks=_checks).status != "complete":
            raise InputError("needed a run that is complete, found another")


def _checks(files: Mapping[str, bytes], tests: Sequence[str], _: SandboxLimits) -> Outcome:
    return Outcome(len(tests), 0, 0, (), b"", 0.0, (), {}, {})


def _real(bench: Bench, rounds: int) -> Iterator[Figure]:
    what = f"a real llama-server and SmolLM2, answers of {TOKENS} tokens"
    if not SERVER.exists() or not model_file(SMOLLM2).exists():
        yield Figure(GROUP, what, why="needs llama-server and SmolLM2: scripts/install all")
        return
    bench.say(f"{CALLS} calls to a real llama-server")
    with _server(bench.folder) as url:
        model = ServerModel(url)

        def asks(concurrency: int) -> Callable[[], None]:
            races = [Race([SideCall(n, _asking(model, n, TOKENS), 300)]) for n in range(CALLS)]
            return lambda: run_calls(races, _must_answer, concurrency)

        beside, after = in_turns(rounds, asks(SLOTS), asks(1))
        yield _faster(what, beside, after, 0.0, None)


def _losers(bench: Bench, rounds: int) -> Iterator[Figure]:
    """Yield how soon a real server ends a loser, and what the log says that it cost."""
    if not SERVER.exists() or not model_file(SMOLLM2).exists():
        what = "a cancelled loser's slot is free again"
        yield Figure(GROUP, what, why="needs llama-server and SmolLM2: scripts/install all")
        return
    with _server(bench.folder) as url:
        yield from _cut_answers(bench, url, rounds)
    with _server(bench.folder, "-b", str(BATCH), "-ub", str(BATCH)) as url:
        yield _cut_prompt(bench, url, rounds)


def _cut_answers(bench: Bench, url: str, rounds: int) -> Iterator[Figure]:
    bench.say("losers of that server are cancelled")
    streamed = ServerModel(url, sampling={"ignore_eos": True})
    whole = ServerModel(url, sampling={"ignore_eos": True})
    whole.streams = 0
    losers, bare = list[CutLoser](), list[float]()
    for _ in range(rounds):
        losers.append(_stopped(streamed, url))
        bare.append(_closed(url))
    control = [_stopped(whole, url).milliseconds for _ in range(2)]
    yield _soon(
        "a cancelled loser's slot is free again", [one.milliseconds for one in losers],
        f"a bare socket that is closed, {median(bare):.0f} ms ({min(bare):.0f} to {max(bare):.0f});"
        f" asked whole, while others ask the server too, {_given_up(control)}",
    )  # fmt: skip
    token = median(one.token for one in losers)
    yield Figure(
        GROUP, "the same, in tokens of that server",
        [one.milliseconds / one.token for one in losers], "tokens", f"{token:.0f} ms for a token",
        f"a bare socket, {median(bare) / token:.1f} tokens", aim=Bound("<=", 2.0),
    )  # fmt: skip
    yield Figure(
        GROUP, "what it is said to have generated, of what its server counts",
        [one.said / one.generated for one in losers], "x",
        f"{median(one.said for one in losers):.0f} tokens",
        "the bound of before, all of 900 tokens",
    )  # fmt: skip


def _cut_prompt(bench: Bench, url: str, rounds: int) -> Figure:
    """Return how soon a server ends to read a prompt, of which it looks up after each batch."""
    bench.say("losers are cancelled while their prompts are read")
    model = ServerModel(url, sampling={"cache_prompt": False})
    long = "one word after the other " * 160
    times = [_stopped(model, url, long).milliseconds for _ in range(rounds)]
    read = model.complete([Message("user", long)], Limits(1))
    second = (read.prompt_tokens or 0) / (read.seconds or 1)
    return _soon(
        f"a loser whose prompt is being read, in batches of {BATCH}", times,
        f"a batch takes {1_000 * BATCH / second:.0f} ms, and is not left off",
    )  # fmt: skip


def _given_up(times: Sequence[float]) -> str:
    given = all(one >= 1_000 * GIVEN_UP for one in times)
    return f"not within {GIVEN_UP:.0f} s" if given else f"{median(times):.0f} ms"


def _must_answer(ended: EndedCall) -> None:
    if ended.error is not None:
        raise ended.error


def _asking(
    model: Any, number: int, tokens: int, so_far: AnswerSoFar | None = None, prompt: str = ""
) -> Callable[[Cancellation], Completion]:
    prompt = prompt or f"Count upwards from {number} in words, and do not stop."
    asked = [Message("user", prompt)]

    def ask(cancellation: Cancellation) -> Completion:
        answer: Completion = model.complete(
            asked, Limits(tokens, seconds=300, cancellation=cancellation, so_far=so_far)
        )
        return answer

    return ask


class CutLoser(NamedTuple):
    """A loser of a race at a server."""

    milliseconds: float
    "From the win until no slot of the server works any more."
    said: int
    "The tokens that had come of it."
    generated: int
    "Those that the server had counted at the win."
    token: float
    "Milliseconds that it took for each before."


def _stopped(model: ServerModel, url: str, prompt: str = "") -> CutLoser:
    """Have an answer win while a server works on the other."""
    won, so_far, generated, seen = [0.0], AnswerSoFar(), list[int](), list[int]()

    def wins(cancellation: Cancellation) -> Completion:
        for _ in range(2):
            cancellation.pause(0.25 if prompt else 0.75)
            seen.append(so_far.part.tokens or 0)
        generated.extend(map(_decoded, _slots(url)))
        won[0] = time.monotonic()
        return Completion("yes")

    loses = _asking(model, 0, 900, so_far, prompt)
    run_calls([Race([SideCall(0, loses, 300), SideCall(1, wins, 300)])], lambda ended: None)
    while any(slot["is_processing"] for slot in _slots(url)):
        if time.monotonic() - won[0] > GIVEN_UP:
            break
        time.sleep(0.02)
    ended = 1_000 * (time.monotonic() - won[0])
    token = 750 / max(1, seen[1] - seen[0])
    return CutLoser(ended, so_far.part.tokens or 0, max(1, *generated), token)


def _decoded(slot: Mapping[str, Any]) -> int:
    tokens = slot.get("next_token") or [{}]
    first = tokens[0] if isinstance(tokens, list) else tokens
    return int(first.get("n_decoded") or 0) if slot["is_processing"] else 0


def _closed(url: str) -> float:
    """Return the milliseconds until a slot is free whose bare socket is closed in the midst."""
    body = b'{"prompt": "One, two,", "n_predict": 900, "ignore_eos": true, "stream": true}'
    host, _, port = url.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port))) as bare:
        head = f"POST /completion HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        bare.sendall(head.encode() + body)
        until = time.monotonic() + 1.5
        while time.monotonic() < until and bare.recv(65_536):
            pass
    closed = time.monotonic()
    while any(slot["is_processing"] for slot in _slots(url)):
        time.sleep(0.02)
    return 1_000 * (time.monotonic() - closed)


def _slots(url: str) -> Any:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{url}/slots", timeout=10) as answer:
        return json.load(answer)


def _in_process(bench: Bench, rounds: int) -> Iterator[Figure]:
    what = "in process, a cancelled loser has ended"
    if not model_file(SMOLLM2).exists():
        yield Figure(GROUP, what, why="needs SmolLM2: scripts/install all")
        return
    bench.say("losers in this process are cancelled")
    model, times = LlamaModel(model_file(SMOLLM2), 4_096, threads=1), []
    for _ in range(rounds):
        times.append(_ended(model))
    yield _soon(what, times, "its abort callback")


def _soon(what: str, times: Sequence[float], by: str) -> Figure:
    return Figure(
        GROUP, what, times, "ms", f"{median(times):.0f} ms", by, aim=Bound("<=", 200)
    )  # fmt: skip


def _ended(model: LlamaModel) -> float:
    """Return the milliseconds from a win until the loser has ended."""
    won, ended = [0.0], [0.0]

    def wins(cancellation: Cancellation) -> Completion:
        cancellation.pause(0.5)
        won[0] = time.monotonic()
        return Completion("yes")

    def report(one: EndedCall) -> None:
        if one.outcome == "cancelled":
            ended[0] = time.monotonic()

    run_calls([Race([SideCall(0, _asking(model, 0, 3_000), 300), SideCall(1, wins, 300)])], report)
    return 1_000 * (ended[0] - won[0])


@contextmanager
def _server(folder: Path, *options: str) -> Iterator[str]:
    """Start a llama-server with so many slots, and yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(SERVER), "-m", str(model_file(SMOLLM2)), "--host", "127.0.0.1"]
    command += ["--port", port, "-c", str(1_024 * SLOTS), "-np", str(SLOTS), "--slots"]
    # One thread too many, and all wait for it.
    command += ["--threads", str(threads_free()), *options]
    with tempfile.TemporaryFile(dir=folder) as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        url = f"http://127.0.0.1:{port}"
        try:
            ServerModel(url, patience=60)  # which waits while it loads
            yield url
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
