"""The tools `find` and `stale`."""

from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.moment import NOW
from backcast.engine.context.search.code_words import search_words_kept
from backcast.engine.context.search.questions import found_by_words
from backcast.engine.interfaces.commands.search import OF_ALL
from backcast.engine.interfaces.foreign_prompts import said_documents
from backcast.engine.interfaces.mcp.answers import ToolAnswer
from backcast.engine.interfaces.mcp.runs import AskedRun, RunShelf
from backcast.engine.interfaces.searching import (
    found_texts,
    lines,
    moment_of_all,
    store_texts,
)
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.view.searching import FoundPlace
from backcast.engine.interfaces.view.searching import search as search_places
from backcast.engine.interfaces.views import one_line

WIDTH = 160
"Characters of a text that a line shows."


def find(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    """List the runs, or find code, prompts and answers by words."""
    if not asked["query"]:
        return _runs(shelf, asked)
    if asked["task"]:
        return _in_task(shelf.run(asked["task"]), asked)
    return _in_all(shelf, asked)


def _runs(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    names = [asked["task"]] if asked["task"] else shelf.store.tasks()
    if not names:
        raise InputError("the store holds no run yet: 'backcast import' or 'backcast record' brings"
                         " some")  # fmt: skip
    page = names[asked["cursor"] : asked["cursor"] + asked["limit"]]
    found = [f"{len(names):,} run{'s' * (len(names) > 1)}"]
    stale = []
    for name in page:
        run = shelf.run(name)
        sequence = run.reader.sequence
        trouble = sum(step.outcome in ("failed", "checks", "refused") for step in sequence.steps)
        kind = "another program's prompts, " if run.foreign else ""
        goal = f": {one_line(sequence.goal, WIDTH)}" if sequence.goal else ""
        found.append(
            f"{escaped(name)} ({kind}{sequence.steps[-1].number} steps, {trouble} with trouble,"
            f" {sequence.version:,} events){goal}"
        )
        first, *_ = run.stale(NOW)
        stale.append(f"{escaped(name)} {first}")
    return ToolAnswer(_paged(found, page, len(names), asked), _summed(stale))


def _summed(stale: list[str]) -> list[str]:
    """Return how much of some runs is stale: the sum, then a line for each that has some."""
    counts = [line.rpartition("stale: ")[2].partition(" ")[0] for line in stale]
    total = sum(int(count) for count in counts if count.isdecimal())
    named = [line for line, count in zip(stale, counts, strict=True) if count != "0"]
    return [f"stale: {total}", *named]


def _paged(found: list[str], page: list[Any], count: int, asked: dict[str, Any]) -> list[str]:
    end = asked["cursor"] + len(page)
    return [*found, f"more: cursor={end}"] if end < count else found


def _in_task(run: AskedRun, asked: dict[str, Any]) -> ToolAnswer:
    moment = run.moment(asked["at"])
    version = run.store.version_at(run.task, moment)
    places, holding = list[FoundPlace](), 0
    if any(step.prompt for step in run.reader.sequence.steps):  # a history has texts alone
        places, holding, *_ = search_places(run.reader, asked["query"], version)
    run.outlined()
    said = said_documents(run.place(version)) if run.foreign else []
    current = [*run.documents(moment), *said]
    wanted = asked["cursor"] + asked["limit"]
    with search_words_kept(run.store, "words of nodes", run.task, moment) as counted:
        hits = found_by_words(current, asked["query"], wanted + 1, counted)
    page = hits[asked["cursor"] : wanted]
    texts = {document.id: document.text for document in current}
    found = [f"{run.task}@{version}, the best first:"] if page else []
    for hit in page:
        found.append(f"{escaped(hit.id)}: {one_line(' '.join(texts[hit.id].split()), WIDTH)}")
    if len(hits) > wanted:
        found.append(f"more: cursor={wanted}")
    if places and not asked["cursor"]:
        found.append(f"these very words stand in {holding} texts:")
        found += [
            f"{run.task}@{place.version} {escaped(place.what)} line {place.line}:"
            f" {one_line(' '.join(place.words.split()), WIDTH)}"
            for place in places[: asked["limit"]]
        ]
    return ToolAnswer(found or [_nothing(asked)], run.stale(moment))


def _nothing(asked: dict[str, Any]) -> str:
    if asked["cursor"]:
        return "nothing more"
    return (
        f"nothing holds a word of {one_line(asked['query'], 80)!r}; find without query lists runs"
    )


def _in_all(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    if not shelf.store.tasks():
        return _runs(shelf, asked)
    moment = moment_of_all(shelf.store, asked["at"])
    texts = store_texts(shelf.store, moment)
    wanted = asked["cursor"] + asked["limit"]
    with search_words_kept(shelf.store, OF_ALL, "", moment) as counted:
        hits = found_by_words(texts.documents(), asked["query"], wanted + 1, counted)
    found, tasks = list[str](), dict[str, None]()
    for text in found_texts(shelf.store, texts, hits[asked["cursor"] : wanted]):
        found += lines(text, texts)
        tasks[text.nodes[0].task] = None
    if len(hits) > wanted:
        found.append(f"more: cursor={wanted}")
    stale = []
    for task in tasks:
        first, *_ = shelf.run(task).stale(moment)
        stale.append(f"{escaped(task)} {first}")
    said = "; prompts and answers are searched in one run: name a task"
    return ToolAnswer(found or [_nothing(asked) + said], _summed(stale))


def stale(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    """Tell what does not hold at a moment, and since when."""
    run = shelf.run(asked["task"])
    moment = run.moment(asked["at"])
    if not run.foreign:
        run.outlined()
    first, *rest = run.stale(moment)
    chosen = [line for line in rest if asked["node"] in line]
    version = run.store.version_at(run.task, moment)
    about = f" of {one_line(asked['node'], 80)}" if asked["node"] else ""
    head = f"{run.task}@{version}: {len(chosen)} stale{about}" if first[7:].isdigit() else first
    return ToolAnswer([head, *chosen], [first])
