"""What `scripts/demo` shows of a map: how it grows run by run, and goes stale with a change."""

from rich.console import Console

from backcast.domain.budget import MAP_TOKENS
from backcast.domain.context_map import rendered
from backcast.domain.moment import Moment
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.engine.context.maps import stale_in
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.maps import Maps
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.map_keeping import counting
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping.runs import keep_map, unread
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap, map_of

RUNS, LINES = 3, 14


def demonstrate_map(store: EventStore, task_id: str, out: Console) -> bool:
    """Keep a map over some commits of a history, and show what on it does not hold at the end;
    tells whether it kept within its tokens, and is rebuilt as it was."""
    most, tokenizer = counting()
    ended = unread(store, task_id)
    begin = max(0, (len(ended) - RUNS) // 4)  # what comes later makes some of it stale
    runs, later = ended[begin : begin + RUNS], ended[begin + RUNS :]
    out.print(
        f"\n[bold]a context map of {task_id}[/], kept over {len(runs)} commits,"
        f" {len(later)} before the last"
    )
    settings = MapSettings(item_tokens=80 * most // MAP_TOKENS)
    policy = MapUpdater.of(settings, most, tokenizer.count)
    made = list(keep_map(store, task_id, runs, policy))
    names = [f"after run {number + 1}" for number in range(len(runs))]
    names = [*(["before the first run"] if len(made) > len(runs) else []), *names]
    for number, map in enumerate(made):
        before = made[number - 1] if number else None
        _tell(names[number], map, before, tokenizer, most, out)
    for line in rendered(made[-1].items.values()).split("\n")[:LINES]:
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    fits = all(tokenizer.count(rendered(map.items.values())) <= most for map in made)
    same = _rebuilt(store, task_id, made, out)
    _tell_stale(store, task_id, made[-1], out)
    return same and fits


def _tell(
    name: str, map: ContextMap, before: ContextMap | None, tokenizer: Tokenizer, most: int,
    out: Console,
) -> None:  # fmt: skip
    there = before.items if before else {}
    came = sum(item not in there for item in map.items)
    anew = sum(item in there and there[item].text != map.items[item].text for item in map.items)
    gone = sum(item not in map.items for item in there)
    taken = tokenizer.count(rendered(map.items.values()))
    out.print(
        f"  {name}: {len(map.items)} items in {taken:,} of {most:,} tokens; {came} came,"
        f" {anew} were rewritten, {gone} went",
        highlight=False,
    )


def _rebuilt(store: EventStore, task_id: str, made: list[ContextMap], out: Console) -> bool:
    """Whether the log gives every map again."""
    maps, context = Maps(store), lineage_of(store, task_id).root
    edits = list(store.read(task_id, types=["MAP_EDITED"]))[-len(made) :]
    same = [
        map_of(maps.at(Moment(position=event.position)), context).items == map.items
        for event, map in zip(edits, made, strict=True)
    ]
    out.print(f"  rebuilt from the log as they were: {sum(same)} of {len(same)}", highlight=False)
    return all(same)


def _tell_stale(store: EventStore, task_id: str, map: ContextMap, out: Console) -> None:
    """Print what on a map does not hold any more, and an item of it with what moved on."""
    modules = Modules(dependency_graph.present(state_at(store, dependency_graph, task_id)))
    gone = list(stale_in(map, modules))
    out.print(f"  of its {len(map.items)} items {len(gone)} are stale at the last commit", end="")
    for item in gone:
        if moved := modules.changed(map.items[item].made_of):  # else it does not parse any more
            path, key = moved[0]
            first = map.items[item].line.partition("\n")[0]
            out.print(
                f", for instance, since {key or 'the file'} of {path} moved on: {first}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
            return
    out.print()
