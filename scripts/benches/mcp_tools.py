"""How long does an agent wait for each tool, and how does that grow with the log?

The logs are drawn: commits that write modules again and again, outlined as an import outlines them.
Seconds are the processor's, for they hold on a busy machine; the control reads the log once.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from backcast.domain.events import Claim, Committed, ModuleIteration
from backcast.engine.interfaces.mcp.asking import AskedStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.figures import Bench, Bound, Figure

SIZES = (1, 4, 16)
TEXTS, MODULES, TOGETHER = 600, 120, 200
"Texts of the smallest log, its modules, and texts of one append."
ROUNDS = 5
MOST = 1_000
"Tokens that an answer is asked to keep to."
CALLS = {
    "find": {"query": "amount of module 7"},
    "brief": {},
    "stale": {},
    "explain": {},
}
MISTRAL = "mistral-v3"


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    figures = list(_start(bench))
    for size in SIZES if bench.full else SIZES[:2]:
        path = bench.folder / f"drawn-{TEXTS * size}.db"
        if not path.exists():
            bench.say(f"a log of {TEXTS * size:,} texts")
            drawn(path, TEXTS * size)
        bench.say(f"the tools on it, {size}x")
        figures += _answers(path, size)
    return figures


def drawn(path: Path, texts: int) -> None:
    """Write a log of modules that are written again and again, with outlines."""
    with EventStore.open(f"sqlite:///{path}") as store:
        done = 0
        while done < texts:
            claims, bodies = list[Claim](), list[Blob]()
            for number in range(done, min(done + TOGETHER, texts)):
                module = number % MODULES
                if not number % 4:
                    at = f"2026-11-01T00:00:{number % 60:02}Z"
                    commit = Committed(
                        sha=f"{number:040x}", message=f"Amounts of module {module}",
                        authored_at=at, committed_at=at,
                    )  # fmt: skip
                    claims.append(Claim(commit, None, "drawn", ()))
                body = Blob(_text(module, number).encode())
                bodies.append(body)
                fact = ModuleIteration(
                    module_name=f"shop/m{module}.py", iteration=number // MODULES + 1,
                    source=body.ref,
                )  # fmt: skip
                claims.append(Claim(fact, None, "drawn", ()))
            store.append("drawn", claims, after=store.version("drawn"), blobs=bodies)
            Outlining(store, "drawn").catch_up()
            done += TOGETHER


def _text(module: int, number: int) -> str:
    functions = [
        f"def amount_{module}_{at}(price: int) -> int:\n"
        f'    """Return the amount of module {module}."""\n    return price * {number} + {at}\n'
        for at in range(8)
    ]
    other = (module * 7 + 1) % MODULES
    return f"from shop.m{other} import amount_{other}_0\n\n\n" + "\n\n".join(functions)


def _start(bench: Bench) -> Iterator[Figure]:
    group = "a client starts the server, over stdio"
    command = [str(Path(sys.executable).with_name("backcast")), "mcp"]
    url = f"sqlite:///{bench.folder / 'none.db'}"
    lines = "".join(json.dumps(line) + "\n" for line in (
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    ))  # fmt: skip
    took, alone, listed = list[float](), list[float](), ""
    busy, busy_alone = list[float](), list[float]()
    for _ in range(ROUNDS):
        begun, spent = perf_counter(), _processor()
        process = subprocess.Popen([*command, "--store", url], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(lines)
        process.stdin.flush()
        for line in process.stdout:
            if json.loads(line).get("id") == 1:
                listed = json.dumps(json.loads(line)["result"])
                break
        took.append(perf_counter() - begun)
        process.communicate()
        busy.append(_processor() - spent)
        assert "compare" in listed, listed
        begun, spent = perf_counter(), _processor()
        subprocess.run([sys.executable, "-c", "import mcp.server.lowlevel"], check=True)
        alone.append(perf_counter() - begun)
        busy_alone.append(_processor() - spent)
    control = f"the SDK's import alone: {median(alone):.2f} s"
    yield Figure(group, "until tools/list is answered", took, "s", control=control,
                 must=Bound("<=", 3))  # fmt: skip
    control = f"the SDK's import alone: {median(busy_alone):.2f} s"
    yield Figure(group, "the whole process, processor time", busy, "s", control=control)
    counted = tokenizer_of(MISTRAL).count(listed)
    yield Figure(group, "tokens of tools/list, Mistral's", [counted], "", must=Bound("<=", 1_000))


def _processor() -> float:
    """Return the processor's seconds of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _answers(path: Path, size: int) -> Iterator[Figure]:
    with EventStore.open(f"sqlite:///{path}") as store:
        begun = process_time()
        events = sum(1 for _ in store.read("drawn"))
        read = process_time() - begun
    group = f"a log of {events:,} events ({size}x), processor time"
    control = f"reading the log once: {read:.2f} s"
    counter = tokenizer_of(MISTRAL)
    for name, given in CALLS.items():
        store_asked = AskedStore(f"sqlite:///{path}")
        asked = {"task": "drawn", "max_tokens": MOST, "profile": "mistral-7b-8k", **given}
        begun = process_time()
        answer = store_asked.call(name, asked)
        first = process_time() - begun
        warm = list[float]()
        for _ in range(ROUNDS):
            begun = process_time()
            again = store_asked.call(name, asked)
            warm.append(1_000 * (process_time() - begun))
            assert again == answer
        store_asked.close()
        assert not answer.failed, answer.texts
        tokens = sum(map(counter.count, answer.texts))
        assert tokens <= MOST, (name, tokens)
        yield Figure(group, f"{name}, the first answer of a process", [first], "s",
                     f"{tokens} of {MOST:,} tokens", control)  # fmt: skip
        yield Figure(group, f"{name}, again", warm, "ms")
