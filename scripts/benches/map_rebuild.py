"""A map at any moment: rebuilt from the log, to the byte, with no model asked."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from backcast.domain.context_map import rendered
from backcast.domain.moment import Moment
from backcast.domain.policy import MapSettings
from backcast.engine.history.maps import EDITS, Maps
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping.runs import keep_map, unread
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections import context_map, fold
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.regress_windows import stored

RUNS, MOMENTS = 100, 500
AIM, ALL = Bound("<=", 5), Bound(">=", 100)


def measure(bench: Bench, settings: MapSettings) -> list[Figure]:
    """The rows of the table."""
    url, task = stored(bench, bench.repositories[0])
    copy = bench.folder / "map.db"
    shutil.copyfile(Path(url.removeprefix("sqlite:///")), copy)
    try:
        with EventStore.open(f"sqlite:///{copy}", create=False) as store:
            bench.say(f"{task}: a map recorded after each of {RUNS} runs")
            policy = MapUpdater.of(settings, 1_024, tokenizer_of("mistral-v3").count)
            runs = unread(store, task, RUNS)
            made = [rendered(map.items.values()) for map in keep_map(store, task, runs, policy)]
            return _rebuilt(store, task, made)
    finally:
        for path in bench.folder.glob("map.db*"):
            path.unlink()


def _rebuilt(store: EventStore, task: str, made: Sequence[str]) -> list[Figure]:
    positions = [event.position for event in store.read(task, types=EDITS)]
    begin = perf_counter()
    maps = Maps(store)
    reading = perf_counter() - begin
    dice, same, times, alone = random.Random(0), 0, list[float](), list[float]()
    for _ in range(MOMENTS):
        number = dice.randrange(len(made))
        moment = Moment(position=positions[number])
        begin = perf_counter()
        text = rendered(context_map.map_of(maps.at(moment), task).items.values())
        times.append(1000 * (perf_counter() - begin))
        same += text == made[number]
    for number in range(0, len(made), 10):
        begin = perf_counter()
        state = fold(context_map, store.read(types=EDITS, last=positions[number]))
        rendered(context_map.map_of(state, task).items.values())
        alone.append(1000 * (perf_counter() - begin))
    group = f"the map of {task} at any of {len(made)} moments"
    told = (
        f"p95 {percentile(times, 95):.2f} ms; its edits are read once, in {1000 * reading:.0f} ms"
    )
    nothing = f"from nothing, each time: p50 {percentile(alone, 50):.0f} ms"
    share = 100 * same / MOMENTS
    return [
        Figure(group, "rebuilt, p50", [percentile(times, 50)], "ms", told, nothing, aim=AIM),
        Figure(group, "as it was rendered then, to the byte", [share], "%",
               f"{same} of {MOMENTS}, no model asked", must=ALL),
    ]  # fmt: skip
