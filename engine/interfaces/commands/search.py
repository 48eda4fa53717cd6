"""`backcast search`: find functions and modules by what they do."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.empty import FILLED_BY, note_empty
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from backcast.engine.context.search import Document, SearchHit
    from backcast.engine.context.search.words import WordCounts
    from backcast.engine.log.store import EventStore

MEANING = ("faiss", "sentence_transformers")
"The packages that a search by meaning needs."


@click.command(name="search")
@address_argument()
@click.argument("query")
@store_option
@click.option("-k", "count", default=10, show_default=True, help="How many to find.")
@click.option(
    "--embedder", metavar="NAME", help="A sentence-transformers model, by name or folder."
)
@click.option("--words", is_flag=True, help="By words alone, as where no model is installed.")
@json_option
def command(
    address: Address, query: str, url: str, count: int, embedder: str | None, words: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Find modules and functions by what they did at a moment.

    They are searched by meaning and by words.

    The meaning needs the extra 'semantic', in a clone 'scripts/install all'.

    \b
    backcast search task-abc123@2026-11-20T12:30 "is this an e-mail address?"
    """
    from backcast.engine.context.search.kept_words import words_kept
    from backcast.engine.interfaces.summaries import documents

    if words and embedder:
        raise click.UsageError("--words needs no --embedder")
    with task_at(address, url) as place:
        moment = place.outlined()
        current = documents(place.store, place.task, moment)
        if not current:
            note_empty(place.store, place.task, moment, *FILLED_BY["versions"])
        with words_kept(place.store, "words of nodes", place.task, moment) as counted:
            hits = _hits(place.store, current, query, count, embedder, counted, words=words)
    texts = {document.id: document.text for document in current}
    for hit in hits:
        if as_json:
            click.echo(json_text(hit._asdict() | {"text": texts[hit.id]}))
        else:
            click.echo(f"{hit.score:.4f}  {escaped(hit.id)}")


def _hits(
    store: "EventStore", current: "list[Document]", query: str, count: int, embedder: str | None,
    counted: "WordCounts", *, words: bool,
) -> "list[SearchHit]":  # fmt: skip
    """Search by words, and by meaning too unless that is left out or its model is not installed."""
    from backcast.engine.context.search import search, search_words
    from backcast.engine.context.search.kept_embedder import embedder_of
    from backcast.engine.interfaces.terminal import progress_bar

    if not words and not embedder and not all(find_spec(name) for name in MEANING):
        words = True
        message(
            "note: found by words alone; by meaning too after 'pip install backcast[semantic]', in"
            " a clone 'scripts/install all'"
        )
    if words:
        return search_words(current, query, count, counted)
    with progress_bar("embedding", len(current)) as advance:
        model = embedder_of(store, embedder)
        return search(store, model, current, query, count, advance, counted)
