"""A conversation of 500 turns, and what it was after each of them, beside LangGraph.

LangGraph runs a graph of one node that answers, over a list of messages (`add_messages`), with its
SqliteSaver as it comes. Its checkpoints also hold the graph's own steps, three of them a turn. We
store each text once and fold: a projection of this bench holds the conversation. Both give the
whole list of messages after each turn.
"""

from pathlib import Path
from statistics import median

from immutables import Map

from backcast.domain.events import MessageReceived, ModelReplied, WorkflowEvent
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from scripts.benches.figures import Bench, Figure, ratios, seconds
from scripts.benches.peer import Peer, PeerMissing
from scripts.benches.workload import TEXT, checkpoint, open_store

TURNS, SIZE, ROUNDS = 500, 1000, 3
GROUP = f"{TURNS} turns of 2 x {SIZE:,} characters"
TASK = "conversation"
TEXTS = [TEXT[n * SIZE : (n + 1) * SIZE] for n in range(2 * TURNS)]


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    bench.say(f"a conversation of {TURNS} turns")
    path = bench.folder / "turns.db"
    with open_store(path, "full") as store:
        wrote = seconds(lambda: _write(store))
        stored = checkpoint(path)
        try:
            with Peer.start(bench, "langgraph_turns") as peer:
                return _beside(bench, store, stored, wrote, peer)
        except PeerMissing as missing:
            said = f"{stored / 1e6:.2f} MB, written in {wrote:.2f} s"
            return [Figure(GROUP, "beside LangGraph's SqliteSaver", ours=said, why=str(missing))]


def evolve(state: Map[int, str], event: WorkflowEvent) -> Map[int, str]:
    """The conversation after one more event, by version: a persistent map shares what stays."""
    match event.fact:
        case MessageReceived(text=str(ref)) | ModelReplied(text=str(ref)):
            return state.set(event.version, ref)
        case _:
            return state


def _write(store: EventStore) -> None:
    for turn in range(TURNS):
        asked, answered = (Blob(text.encode()) for text in TEXTS[2 * turn : 2 * turn + 2])
        question = MessageReceived(role="user", text=asked.ref)
        store.append(TASK, [question], after=2 * turn, blobs=[asked])
        reply = ModelReplied(text=answered.ref)
        store.append(TASK, [reply], after=2 * turn + 1, blobs=[answered])


def _history(path: Path) -> list[list[str]]:
    """All messages after each turn, read anew."""
    with open_store(path) as store:
        texts: dict[str, str] = {}
        state: Map[int, str] = Map()
        history = []
        for event in store.read(TASK):
            state = evolve(state, event)
            if isinstance(event.fact, ModelReplied):
                refs = [state[version] for version in sorted(state)]
                for ref in refs[-2:]:
                    texts[ref] = store.get(ref).decode()
                history.append([texts[ref] for ref in refs])
    if history[-1] != TEXTS:
        raise AssertionError("the conversation is not what was said")
    return history


def _beside(bench: Bench, store: EventStore, stored: int, wrote: float, peer: Peer) -> list[Figure]:
    path = bench.folder / "turns.db"
    theirs = peer.ask("run", path=str(bench.folder / "langgraph.db"), texts=TEXTS)
    rounds = ROUNDS if bench.full else 1  # theirs takes ten seconds
    ours = [seconds(lambda: _history(path)) for _ in range(rounds)]
    history = [peer.ask("history")["seconds"] for _ in range(rounds)]
    said = sum(map(len, TEXTS))
    size = f"{theirs['bytes'] / said:,.0f} x, {theirs['bytes'] / 1e6:,.0f} MB"
    return [
        Figure(
            GROUP,
            "bytes stored, times those said",
            [stored / said],
            ours=f"{stored / 1e6:.2f} MB",
            control=f"{theirs['version']}: {size}",
        ),
        Figure(
            GROUP,
            "messages after each turn, times as fast",
            ratios(history, ours),
            ours=f"{median(ours) * 1000:,.0f} ms",
            control=f"{median(history) * 1000:,.0f} ms for {theirs['checkpoints']:,} checkpoints",
        ),
        Figure(
            GROUP,
            "the run, durable, times as fast",
            [theirs["seconds"] / wrote],
            ours=f"{wrote:.2f} s",
            control=f"{theirs['seconds']:.1f} s, the steps of the graph included",
        ),
    ]
