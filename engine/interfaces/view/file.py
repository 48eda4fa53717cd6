"""Write a run as one file that opens without a server: the same page, and all its parts."""

import base64
import hashlib
import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import Moment
from backcast.engine.history.branches import Lineage, lineage_of
from backcast.engine.history.maps import EDITS, Maps, context_of, map_known
from backcast.engine.history.staleness import Stale, stale
from backcast.engine.interfaces.view.difference_panel import difference_panel
from backcast.engine.interfaces.view.line_pool import pooled
from backcast.engine.interfaces.view.markup import Markup, cut, joined, tag
from backcast.engine.interfaces.view.moment_panel import (
    MomentStates,
    moment_parts,
    moment_title,
)
from backcast.engine.interfaces.view.page import asset, page
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import ON_PAGE, RunReader
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.interfaces.view.searching import texts
from backcast.engine.interfaces.view.step_panel import compared_with, step_panel
from backcast.engine.interfaces.view.whatif_file import FileTrial, file_panels, file_trial
from backcast.engine.interfaces.view.whatif_form import NOT_HERE
from backcast.engine.log.importers import Report, events, import_batches
from backcast.engine.log.redaction import Redaction, redacted
from backcast.engine.log.redaction.masks import Masks
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import steps
from backcast.engine.replay.what_if import OtherPolicy
from backcast.projections.context_map import ContextMap, map_of

SHORT = 160
"Characters of a part that is repeated where it is needed, and not kept by itself."
LEVEL = 6
"That of zlib: 9 takes three times as long, for a file that is 3 % smaller."
STEPS = 1_000
"""Steps that a file holds where nothing says how many, the last ones: each has panels, and each of
its events a list of all modules."""

PAIRED = 40
"Prompts of a run up to which a file holds the difference of every two: 780 of them."


class PageParts:
    """The parts of a file, each kept once, however many panels show it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[bytes, int] = {}

    def number(self, part: str) -> int:
        """Return the number of a part."""
        digest = hashlib.sha256(part.encode(errors="surrogatepass")).digest()
        if digest not in self.numbers:
            self.numbers[digest] = len(self.texts)
            self.texts.append(part)
        return self.numbers[digest]

    def keep(self, part: Markup) -> Markup:
        """Return what stands for a part: no text of a log can look so, since its `<` is escaped."""
        return part if len(part) < SHORT else Markup(f"<r {self.number(part)}>")


class RunNames(NamedTuple):
    """The names by which commands find a run."""

    log: str = ""
    store_url: str = ""


UNNAMED = RunNames()


class RedactedRun(NamedTuple):
    """A copy of a task without its secrets, and what masks them elsewhere."""

    reader: RunReader
    mask: Callable[[str], str]
    masked: str
    "How many secrets of each kind were masked."


class _AskedFile(NamedTuple):
    """What a file is asked to hold beside the run."""

    version: int
    "The event at which it opens; 0 for the one that it chooses."
    names: RunNames
    trials: tuple[FileTrial, ...]
    first: int = 1
    "The first event of the first step that it holds."


def _no_progress(total: int) -> Callable[[int], None]:
    return lambda steps: None


def whole_page(
    store: EventStore, task: str, version: int, notes: list[str], *, redact: bool,
    advancing: Callable[[int], Callable[[int], None]] = _no_progress,
    policies: Sequence[OtherPolicy] = (), names: RunNames = UNNAMED, last: int | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Return a run as one page, and what was masked in it; it opens at an event, 0 for the one
    that it chooses. It tells what each of some `policies` would have shown.

    It holds the `last` steps, of more than `STEPS` that many. `advancing` takes the number of all
    that is to be done, and returns the function that takes what is done. `InputError` for an event
    before these steps.
    """
    reader = RunReader(store, task)
    every = reader.sequence.read_on()
    shown = every[-(last or STEPS) :]
    first = shown[0].first if len(shown) < len(every) else 1
    if 0 < version < first:
        raise InputError(
            f"event {version} stands before the last {len(shown):,} steps, which begin with event"
            f" {first}: --last {len(every)} keeps all"
        )
    if len(shown) < len(every):
        held_words = f"Of {len(every):,} steps this file holds the last {len(shown):,}"
        notes = [*notes, f"{held_words}: --last {len(every)} keeps all."]
    prompts = len(reader.prompts())
    held = sum(prompt >= first for prompt in reader.prompts())
    advance = advancing(
        prompts * len(policies) + held + len(shown) + reader.sequence.version - first + 1
    )
    trials = tuple(file_trial(reader, other, advance) for other in policies)
    asked = _AskedFile(version, names, trials, first)
    if not redact:
        return _page(reader, None, asked, notes, advance), ""
    with _redacted(store, task) as copy:
        copy.reader.sequence.read_on()
        notes = [copy.mask(note) for note in notes]
        return _page(reader, copy, asked, notes, advance), copy.masked


@contextmanager
def _redacted(store: EventStore, task: str) -> Iterator[RedactedRun]:
    """Open a copy of a task in memory, as `export --redact` and `import` make it."""
    redaction, last = Redaction(Masks()), store.version(task)
    lines = map(events.line_for, redacted(lambda: events.parts(store, task, last), redaction))
    with TemporaryDirectory() as folder, EventStore.open("sqlite://") as copy:
        path = Path(folder) / "run.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        report = Report()
        import_batches(copy, events.FORMAT, events.read(path, None, report), report)
        [name] = copy.tasks()
        counts = sorted(redaction.masks.counts.items())
        masked = ", ".join(f"{count} {kind}" for kind, count in counts) or "nothing"
        yield RedactedRun(RunReader(copy, name), redaction.masked_text, masked)


def _page(
    reader: RunReader, copy: RedactedRun | None, asked: "_AskedFile", notes: list[str],
    advance: Callable[[int], None],
) -> str:  # fmt: skip
    shown, mask = (copy.reader, copy.mask) if copy else (None, str)
    for step in steps(reader.store, reader.task, outcomes=True):
        if step.version >= asked.first:
            reader.computed[step.version] = reader.figures_of(step)
            advance(1)
    parts = PageParts()
    names = [mask(trial.other.name) for trial in asked.trials]
    maker = PanelMaker(reader, shown, parts.keep, mask, live=False, log=asked.names.log,
                       store_url=asked.names.store_url, policies=names)  # fmt: skip
    panels = _panels(maker, parts, asked.first, advance)
    others = file_panels(maker, asked.trials, asked.first)
    panels["whatif"] = {name: parts.number(panel) for name, panel in others}
    searched = _search(maker, parts, asked.first)
    data = panels | {"search": searched} | pooled(parts.texts)._asdict()
    packed = zlib.compress(json.dumps(data, separators=(",", ":")).encode("utf-8"), LEVEL)
    style, script = asset("view.css"), asset("view.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = (tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("style", Markup(style)))  # fmt: skip
    foot = (tag("script", Markup(base64.b64encode(packed).decode()), type="text/plain", id="parts"),
            tag("script", Markup(script)))  # fmt: skip
    said = "This file holds what was computed when it was written"
    if copy:
        said += f"; masked in it: {copy.masked}"
    if not names:
        said += f". {NOT_HERE}"
    plain_maker = PanelMaker(reader, shown, mask=mask, live=False, log=asked.names.log,
                             store_url=asked.names.store_url, policies=names)  # fmt: skip
    at = asked.version or _worst(maker, asked.first)
    return page(plain_maker, at, None, head, foot, notes, f"{said}.", asked.first)


def _worst(maker: PanelMaker, first: int) -> int:
    """Return the event at which a file opens that begins with an event."""
    sequence = maker.shown.sequence
    event = sequence.worst().event
    return event if event >= first else sequence.steps[-1].event


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _panels(
    maker: PanelMaker, parts: PageParts, first: int, advance: Callable[[int], None]
) -> dict[str, dict[str, int]]:
    """Return the number of each panel from an event on: of steps by their first events, of moments
    by events."""
    found: dict[str, dict[str, int]] = {"step": {}, "moment": {}, "difference": {}}
    all_steps = maker.shown.sequence.steps
    for step in all_steps[len(all_steps) - sum(step.first >= first for step in all_steps) :]:
        found["step"][str(step.first)] = parts.number(step_panel(maker, step))
        for other in _compared(all_steps, step):
            panel = difference_panel(maker, other.asked, step.asked)
            found["difference"][f"{other.asked}..{step.asked}"] = parts.number(panel)
        advance(1)
    before = Markup("")
    for event, states in _moments(maker.shown, first):
        # An event that cannot be read changes nothing.
        for version in range(first + len(found["moment"]), event.version):
            panel = joined([moment_title(version, None), before])
            found["moment"][str(version)] = parts.number(panel)
        before = moment_parts(maker, states, event.version)
        panel = joined([moment_title(event.version, event), before])
        found["moment"][str(event.version)] = parts.number(panel)
        advance(1)
    return found


def _compared(steps: list[RunStep], step: RunStep) -> list[RunStep]:
    """Return the steps whose prompts a file holds the differences from: of few all before."""
    if sum(bool(one.asked) for one in steps) > PAIRED:
        return [other for other, _ in compared_with(steps, step)]
    before = steps[: steps.index(step)]
    return [one for one in before if one.asked and one.foreign == step.foreign] * bool(step.asked)


def _moments(reader: RunReader, first: int) -> Iterator[tuple[WorkflowEvent, MomentStates]]:
    """Yield each event from `first` on with what was known after it; what did not change is not
    asked again."""
    store, task = reader.store, reader.task
    states: list[Any] = [one.initial for one in ON_PAGE]
    line, edits = lineage_of(store, task), [event.position for event in store.read(types=EDITS)]
    known, edited, map_at = ContextMap(), 0, _maps(store, line)
    before: tuple[Any, Any] = (None, None)
    outdated: list[Stale] = []
    for event in store.read(task):
        states = [one.evolve(state, event) for one, state in zip(ON_PAGE, states, strict=True)]
        if event.version < first:
            continue
        moment = Moment(position=event.position)
        modules, nodes = states[3].modules, states[4].nodes
        timed = any(one.lives is not None for node in sorted(nodes) for one in nodes[node])
        if timed or modules is not before[0] or nodes is not before[1]:
            outdated = stale(store, task, moment, states=(states[3], states[4])) if nodes else []
            before = modules, nodes
        if edited < (by_now := bisect_right(edits, event.position)):
            known, edited = map_at(moment), by_now
        yield event, MomentStates._make([*states, known, outdated])


def _maps(store: EventStore, line: Lineage) -> Callable[[Moment], ContextMap]:
    """Return a function from a moment to the map as the task knew it; all edits are read once."""
    if line.origin:  # what a branch knew is not what the store holds
        return lambda moment: map_known(store, line, moment)
    maps = Maps(store)
    return lambda moment: map_of(maps.at(moment), context_of(store, line, moment))


def _search(maker: PanelMaker, parts: PageParts, first: int) -> list[tuple[int, str, str, int]]:
    """Return what can be searched: the first event, what it is, the item, and the text's number."""
    found = []
    for entry in texts(maker.shown, first):
        text = joined(cut(maker.shown.text(entry.ref)))
        found.append((entry.version, entry.what, entry.item, parts.number(text)))
    return found
