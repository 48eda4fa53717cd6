"""`backcast search`: find functions and modules by what they do."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import install_advice
from backcast.domain.json_text import json_text
from backcast.engine.history.address import parse
from backcast.engine.interfaces.addresses import ANY, AddressType, task_at
from backcast.engine.interfaces.empty import FILLED_BY, note_empty
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.screen import cut_to, screen_width
from backcast.engine.interfaces.terminal import escaped, message, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from backcast.engine.context.search import Document, SearchHit
    from backcast.engine.context.search.code_words import SearchWords
    from backcast.engine.log.store import EventStore

MEANING = ("faiss", "sentence_transformers")
"The packages that a search by meaning needs."
MANY = 500
"Texts that take more than some seconds to embed."
NOTED = "search note"
"Under this it is kept that a store's searches were noted to be by words alone."
OF_ALL = "words of all tasks"
"Under this the words of all tasks are kept."


class FirstArgument(AddressType):
    """An address, completed as one; with --all the query, which need not be one."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the text as it was typed."""
        return value


@click.command(name="search")
@click.argument("address", type=FirstArgument(), metavar=f"[{ANY}]")
@click.argument("query", required=False, metavar="QUERY")
@store_option
@click.option("--all", "every", is_flag=True, help="In all tasks of the store; no address then.")
@click.option("--at", "when", default="", metavar="WHEN",
              help="With --all: a time, an event of the store, or TASK@WHEN.")  # fmt: skip
@click.option("-k", "count", default=10, show_default=True, help="How many to find.")
@click.option(
    "--embedder", metavar="NAME", help="A sentence-transformers model, by name or folder."
)
@click.option("--words", is_flag=True, help="By words alone, at once.")
@json_option
def command(
    address: str, query: str | None, url: str, every: bool, when: str, count: int,
    embedder: str | None, words: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find modules and functions by what they did at a moment; in agents' runs also what was said.

    They are searched by meaning and by words, those of their code too; tests only where the query
    speaks of them. Messages, calls and results that say the query word for word come first.

    The meaning needs the extra 'semantic', in a clone 'scripts/install all'. The first search
    embeds each text once, some thousands in minutes; --words does without.

    \b
    backcast search fixtures/logs/addresses.jsonl@2026-11-20T12:30 "is this an e-mail address?"
    backcast search "is this an e-mail address?" --all --at 2026-11-20T12:30

    With --all, tasks are found by their goals, too, and a text that several have is shown once:
    'backcast help search' tells what is compared, and how.
    """
    if words and embedder:
        raise click.UsageError("--words needs no --embedder")
    if every:
        if query is not None:
            raise click.UsageError(
                f"--all searches every task: needed a query alone, found {address!r} too"
            )
        _search_all(url, address, when, count, embedder, words=words, as_json=as_json)
        return
    if query is None:
        raise click.UsageError(f"needed {ANY} and a query, or a query and --all, found {address!r}")
    if when:
        raise click.UsageError(f"--at goes with --all: needed TASK@{when}")
    _search_task(url, address, query, count, embedder, words=words, as_json=as_json)


def _search_task(
    url: str, address: str, query: str, count: int, embedder: str | None, *, words: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from backcast.engine.context.search.code_words import search_words_kept
    from backcast.engine.interfaces.foreign_prompts import is_foreign, said_documents
    from backcast.engine.interfaces.formed_prompts import formed_documents, is_formed
    from backcast.engine.interfaces.summaries import documents
    from backcast.engine.interfaces.views import one_line

    with task_at(parse(address), url) as place:
        moment = place.outlined()
        current = documents(place.store, place.task, moment)
        said = said_documents(place) if is_foreign(place) else []
        said += formed_documents(place) if is_formed(place) else []
        current += said
        if not current:
            note_empty(place.store, place.task, moment, *FILLED_BY["versions"])
        with search_words_kept(place.store, "words of nodes", place.task, moment) as counted:
            hits = _hits(place.store, current, query, count, embedder, counted, words=words)
    if not hits:
        _note_nothing(len(current), f" of {address}", words or _lacks_meaning(embedder))
    elif said:
        hits = _literal_first(hits, said, query)[:count]
        if not any(_place(document.text, query) >= 0 for document in said):
            message(f"note: no message, call or result says {query!r} word for word")
    texts = {document.id: document.text for document in current}
    words_of = {document.id: f"  {one_line(purpose, 80)}" for document in current
                if (purpose := _purpose(document.text))}  # fmt: skip
    words_of |= {
        document.id: one_line(f": {document.text[max(0, _place(document.text, query) - 20) :]}", 80)
        for document in said
    }
    for hit in hits:
        if as_json:
            say(json_text(hit._asdict() | {"text": texts[hit.id]}))
        else:
            say(cut_to(f"{escaped(hit.id)}{words_of.get(hit.id, '')}", screen_width()))


def _purpose(text: str) -> str:
    """Return what a summary says that a function or module is for; empty for nothing."""
    _, found, rest = f"\n{text}".partition("\nPurpose: ")
    return rest.partition("\n")[0] if found else ""


def _place(text: str, query: str) -> int:
    """Return where a text says a query word for word; -1 where it does not."""
    return text.lower().find(query.lower())


def _literal_first(
    hits: "list[SearchHit]", said: "list[Document]", query: str
) -> "list[SearchHit]":
    """Return hits with all that say the query word for word before the others, in log order."""
    from backcast.engine.context.search import SearchHit

    known = {hit.id: hit for hit in hits}
    literal = [document.id for document in said if _place(document.text, query) >= 0]
    first = [known.get(id, SearchHit(id, 0.0, None, None)) for id in literal]
    return [*first, *(hit for hit in hits if hit.id not in set(literal))]


def _search_all(
    url: str, query: str, when: str, count: int, embedder: str | None, *, words: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from backcast.engine.context.search.code_words import search_words_kept
    from backcast.engine.interfaces.searching import (
        found_texts,
        lines,
        moment_of_all,
        plain,
        store_texts,
    )

    with opened(url) as store:
        moment = moment_of_all(store, when)
        texts = store_texts(store, moment)
        if not texts.nodes:
            note_empty(store, None, moment, *FILLED_BY["versions"])
        with search_words_kept(store, OF_ALL, "", moment) as counted:
            current = texts.documents()
            hits = _hits(store, current, query, count, embedder, counted, words=words)
        if not hits:
            _note_nothing(len(current), "", words or _lacks_meaning(embedder))
        for found in found_texts(store, texts, hits):
            if as_json:
                say(json_text(plain(found, texts)))
                continue
            for line in lines(found, texts):
                say(line)


def _hits(
    store: "EventStore", current: "list[Document]", query: str, count: int, embedder: str | None,
    counted: "SearchWords", *, words: bool,
) -> "list[SearchHit]":  # fmt: skip
    """Search by words, and by meaning too unless that is left out or its model is not installed."""
    from backcast.engine.context.search import search
    from backcast.engine.context.search.kept_embedder import embedder_of
    from backcast.engine.context.search.questions import found_by_words, looked_for, own
    from backcast.engine.interfaces.terminal import progress_bar

    if not words and _lacks_meaning(embedder):
        words = True
        _note_words_alone(store)
    if words:
        return found_by_words(current, query, count, counted)
    from backcast.engine.context.search.vectors import others_by

    model = embedder_of(store, embedder)
    if others := others_by(store, model):
        message(
            f"note: the vectors of this store are by {', '.join(others)}: those by {model.id} are"
            " made beside them, and never compared with them"
        )
    asked = own(current, query)
    with progress_bar("embedding", len(asked)) as advance:
        steps = _announcing(len(asked), advance)
        return search(store, model, asked, query, count, steps, counted, looked_for(query))


def _lacks_meaning(embedder: str | None) -> bool:
    """Return whether the usual model cannot be had; one that is named says so itself."""
    return not embedder and not all(find_spec(name) for name in MEANING)


def _note_words_alone(store: "EventStore") -> None:
    """Note, once for a store, that more would be found with the extra; a log that is a file, where
    nothing can be kept, has it only where nothing was found."""
    from backcast.engine.history.kept import keep, kept

    if store.recorder.is_lasting and not kept(store, NOTED, 0, "", 0, bytes):
        message(f"note: found by words alone; by meaning too after {install_advice('semantic')}")
        keep(store, NOTED, 0, "", 0, b"noted")


def _note_nothing(count: int, where: str, by_words: bool) -> None:
    """Note that nothing was found, and what might be found otherwise."""
    hint = ""
    if by_words:
        lacks = _lacks_meaning(None)
        hint = f" after {install_advice('semantic')}" if lacks else " without --words"
        hint = f" by words alone; by meaning too{hint}"
    message(f"nothing found in {count:,} texts{where}{hint}")


def _announcing(total: int, advance: "Callable[[int], None]") -> "Callable[[int], None]":
    """Return a counter of steps that says beforehand what there is to embed: its first step is what
    has vectors already."""
    waits = True

    def take(step: int) -> None:
        nonlocal waits
        if waits and total - step >= MANY:
            message(
                f"note: {total - step:,} texts are embedded first, each once for all, which takes"
                " minutes: --words finds by words alone, at once"
            )
        waits = False
        advance(step)

    return take
