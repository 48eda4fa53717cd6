"""What every prompt of our own recorded runs has to keep, asked with the plugin that we ship."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from backcast.domain.node import node_id, path_of
from backcast.engine.interfaces.testing.assertions import (
    assert_contains,
    assert_no_stale,
    assert_prefix_shared,
    assert_same_context,
    assert_within_budget,
)
from backcast.engine.interfaces.testing.replayed import Replayed
from backcast.engine.log.open_logs import Log
from backcast.projections import dependency_graph

pytestmark = pytest.mark.backcast_logs("fixtures/logs/validators.jsonl", "fixtures/logs/till.jsonl")


def test_every_prompt_is_within_its_budget(recorded_step: Replayed) -> None:
    assert_within_budget(recorded_step)


def test_no_prompt_shows_a_summary_that_no_longer_holds(recorded_step: Replayed) -> None:
    assert_no_stale(recorded_step)


def test_every_prompt_is_built_today_as_it_was_recorded(recorded_step: Replayed) -> None:
    assert_same_context(recorded_step)


def test_every_prompt_shows_the_module_that_it_is_about(
    recorded_log: Log, replay: Callable[..., Iterator[Replayed]]
) -> None:
    there = [step for step in replay(recorded_log) if path_of(step.request.target) in known(step)]
    assert there
    for step in there:
        assert_contains(step, node_id("module", path_of(step.request.target)))


def test_a_prompt_for_the_same_things_begins_as_the_one_before_it(
    recorded_log: Log, replay: Callable[..., Iterator[Replayed]]
) -> None:
    again = [step for step in replay(recorded_log) if step.previous and same(step, step.previous)]
    assert again
    for step in again:
        # Between two iterations the module itself changes, between two attempts only what failed.
        attempt = "attempt" in step.step.name
        assert_prefix_shared(step, at_least=0.65 if attempt else 0.4)  # 0.70 and 0.42 at least


def known(step: Replayed) -> Mapping[str, object]:
    """The modules that there were when a prompt was asked for."""
    return dependency_graph.present(step.step.known.states.graph)


def same(step: Replayed, other: Replayed) -> bool:
    """Whether two prompts are about the same target, and show the same things in full."""
    asked, before = step.request, other.request
    return (asked.target, asked.wanted) == (before.target, before.wanted)
