"""How long does one wait for the page of a long run, in a real Chromium?

The page is `backcast view`'s own, of a run whose model is a double. What is timed is what a person
waits for: from the address, or from the key, until the panels are painted.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.interfaces.view.file import whole_page
from backcast.engine.interfaces.view.sequence import RunSequence
from backcast.engine.log.store import EventStore
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.run_steps import LONG, SHORT, ran
from tests.browsers import CHROMIUM, DRIVER, Browser, browser, viewed

OPENED, MOVED = 5, 100
"How often the page is opened, and how many steps are gone to."
PAINTED = """
const done = arguments[arguments.length - 1], version = arguments[0], begun = performance.now();
const seen = () => {
  const step = document.querySelector("#step"), at = document.querySelector("#moment h2 b");
  const here = at && +at.textContent === version && step && +step.dataset.first <= version
    && version <= +step.dataset.last;
  if (here) requestAnimationFrame(() => done(performance.now() - begun));
  else setTimeout(seen, 1);
};
location.hash = `e=${version}`;
seen();
"""
FETCHED = """
const done = arguments[arguments.length - 1], begun = performance.now();
fetch("/view.css").then((answer) => answer.text()).then(() =>
  requestAnimationFrame(() => done(performance.now() - begun)));
"""
OPEN = "performance.getEntriesByType('paint').find(p => p.name === 'first-contentful-paint')"


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    if not (CHROMIUM and DRIVER):
        raise InputError("needed Debian's chromium and chromium-driver: apt-get install them")
    project = LONG if bench.full else SHORT
    path = bench.folder / f"run-{project.modules}-{project.iterations}.db"
    if not path.exists():
        bench.say(f"a run of {project.steps:,} steps")
        ran(bench.folder, project)
    return list(_figures(bench, path, project.steps))


def _figures(bench: Bench, path: Path, count: int) -> Iterator[Figure]:
    url, group = f"sqlite:///{path}", f"the page of a run of {count:,} steps, in a Chromium"
    with EventStore.open(url) as store:
        sequence = RunSequence(store, "project")
        events = [step.event for step in sequence.read_on()]
    bench.say("the page")
    with (
        TemporaryDirectory() as folder,
        viewed("project", "--store", url) as address,
        browser(Path(folder)) as chromium,
    ):
        opened = [_opened(chromium, address) for _ in range(OPENED)]
        yield Figure(group, "until it is there", opened, "ms", must=Bound("<=", 1_000))
        drawn = Random(1).sample(events, min(MOVED, len(events)))
        moved = [_timed(chromium, PAINTED, version) for version in drawn]
        empty = [_timed(chromium, FETCHED) for _ in range(MOVED)]
        again = [_timed(chromium, PAINTED, version) for version in drawn]
        control = f"a file that needs no work: median {median(empty):.0f} ms"
        yield Figure(group, "a step that nobody looked at before", moved, "ms",
                     f"p95 {percentile(moved, 95):.0f} ms", control)  # fmt: skip
        yield Figure(group, "a step that was looked at before", again, "ms", control=control)
        yield Figure(group, "the same, p95", [percentile(again, 95)], "ms", must=Bound("<=", 200))
    bench.say("the file")
    with EventStore.open(url) as store:
        page, _ = whole_page(store, "project", 0, [], redact=False)
    bodies = path.stat().st_size / 1e6
    yield Figure(group, "its file", [len(page.encode()) / 1e6], "MB", must=Bound("<=", 10),
                 control=f"the store: {bodies:.1f} MB")  # fmt: skip


def _opened(chromium: Browser, address: str) -> float:
    chromium.driver.get("about:blank")
    chromium.open(address)
    chromium.until(f"!!{OPEN}")
    ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    return float(chromium.js(f"Math.max({OPEN}.startTime, {ready})"))


def _timed(chromium: Browser, script: str, *given: Any) -> float:
    return float(chromium.driver.execute_async_script(script, *given))
