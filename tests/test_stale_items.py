"""Whether what is shown is a summary that no longer holds, whoever chose to show it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import Moment
from backcast.domain.summary import summary_of
from backcast.engine.context.rendering import RenderItem
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.staleness import stale
from backcast.engine.history.task_states import TaskStates
from backcast.engine.interfaces.testing.replayed import replayed
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.replay.stale_items import stale_items
from backcast.projections import dependency_graph
from tests.sources import SHOP, Task

LOGS = Path(__file__).parents[1] / "fixtures/logs"
NORMALISE = "function:utils.py::normalise"
GONE = {"utils.py": {"sig:gone": "0" * 64}}
"What no module has, so that nothing made of it holds."


@pytest.fixture
def shop() -> Iterator[Log]:
    """A log in which a module moves on after summaries were written."""
    with opened(str(LOGS / "shop.jsonl")) as log:
        yield log


def states_of(log: Log, last: int | None = None) -> TaskStates:
    running = TaskFollower(log.store, log.tasks[0])
    running.read_on(last)
    return running.states


def shown(states: TaskStates, level: str = "summary") -> list[RenderItem]:
    """An item for each summary that was written."""
    nodes = states.summaries.nodes
    return [RenderItem(node, "", one.text, level) for node in sorted(nodes) for one in nodes[node]]


def written(text: str, *others: SummaryWritten) -> TaskStates:
    """What is known of the shop when a summary has been written that does not hold."""
    task = Task()
    with task.store:
        for path, source in SHOP.items():
            task.wrote(path, source)
        task.outlined()
        task.happened(
            SummaryWritten(node=NORMALISE, text=text, summariser="clerk 1", built_from=GONE)
        )
        for fact in others:
            task.happened(fact)
        return states_of(Log("task", task.store, (task.id,)))


def test_at_every_moment_they_are_those_that_backcast_stale_names(shop: Log) -> None:
    told = []
    for version in range(1, shop.store.version(shop.tasks[0]) + 1):
        states = states_of(shop, version)
        found = {one.node for one in stale_items(shown(states), states)}
        assert found == {one.node for one in stale(shop.store, shop.tasks[0], moment(version))}
        told.append(len(found))
    assert (min(told), max(told)) == (0, 3)


def moment(version: int) -> Moment:
    return Moment(position=version)


def test_each_tells_who_wrote_it_and_what_has_moved_on(shop: Log) -> None:
    states = states_of(shop)
    [found] = [one for one in stale_items(shown(states), states) if one.node == NORMALISE]
    parts = ", ".join(f"{part}:normalise of utils.py" for part in ("body", "doc", "sig"))
    assert str(found) == f"{NORMALISE} shows the summary of event 32: since then {parts} changed"


def test_a_builder_that_shows_what_was_written_last_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last(self: RequestScope, node: str, limit: int) -> str:
        known = self.states.summaries.nodes.get(node)
        return known[-1].text if known else ""

    monkeypatch.setattr(RequestScope, "summary", last)
    with opened(str(LOGS / "contexts.jsonl")) as log:
        prompts = list(replayed(log.store, log.tasks[0]))
        found = [stale_items(one.context.items, one.step.known.states) for one in prompts]
    assert any(found)
    assert {one.node for many in found for one in many} == {"module:validators.py"}


def test_a_summary_is_found_among_comments_below_a_signature() -> None:
    states = written("Function: normalise\nInputs: x\nTrims it.\nThen lowers it.")
    text = "def normalise(text: str) -> str:\n    # Trims it.\n    # Then lowers it."
    [found] = stale_items([RenderItem(NORMALISE, "", text, "summary")], states)
    assert found.why == "since then sig:gone of utils.py changed"
    assert not stale_items([RenderItem(NORMALISE, "", text[:-1], "summary")], states)


def test_code_that_says_the_same_in_a_comment_is_not_a_summary() -> None:
    states = written("Trims it.")
    code = "def normalise(text):\n    # Trims it.\n    return text.strip()"
    assert not stale_items([RenderItem(NORMALISE, "", code, "full")], states)
    assert stale_items([RenderItem(NORMALISE, "", code, "summary")], states)
    assert stale_items([RenderItem(NORMALISE, "", "Trims it.", "full")], states)


def test_what_is_still_true_by_the_code_is_not_stale() -> None:
    derived = summary_of(dependency_graph.present(written("x").graph), NORMALISE)
    assert derived is not None
    states = written(derived.text)
    assert not stale_items([RenderItem(NORMALISE, "", derived.text, "summary")], states)
    states = written(f"{derived.text}\nIt is fast.")
    assert stale_items(
        [RenderItem(NORMALISE, "", f"{derived.text}\nIt is fast.", "summary")], states
    )


def test_what_another_summary_still_says_is_not_stale() -> None:
    other = SummaryWritten(node=NORMALISE, text="Trims it.\nIt is pure.", summariser="scribe 1")
    item = RenderItem(NORMALISE, "", "Trims it.", "summary")
    assert stale_items([item], written("Trims it."))
    assert not stale_items([item], written("Trims it.", other))


def test_time_and_another_version_of_its_summariser_make_it_stale() -> None:
    old = SummaryWritten(node="module:utils.py", text="Old.", summariser="scribe 1", lives=30)
    new = SummaryWritten(node=NORMALISE, text="New.", summariser="scribe 2")
    item = RenderItem("module:utils.py", "", "Old.", "summary")
    [outlived] = stale_items([item], written("x", old, new))
    assert outlived.why == "it held for 30 s"
    [superseded] = stale_items([item], written("x", old.model_copy(update={"lives": None}), new))
    assert superseded.why == "scribe moved on from 1 to 2"


def test_an_empty_summary_is_never_shown() -> None:
    assert not stale_items([RenderItem(NORMALISE, "", "", "full")], written(""))
    assert not stale_items([RenderItem(NORMALISE, "", "", "summary")], written(" \n"))
