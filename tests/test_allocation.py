"""What is shown within a budget: never more than there is room for, and nearly the best of it."""

from collections.abc import Sequence
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.allocation import DUPLICATE, OUT, allocated, steps
from backcast.domain.context import Candidate
from backcast.domain.errors import BudgetExceededError
from tests.candidates import candidates, gain_of, one, rooms, shown


def best_gain(offered: Sequence[Candidate], room: int) -> float:
    """The most that can be gained, of all that could be shown."""
    choices = [[(0, 0.0), *((level.tokens, level.gain) for level in one.levels)] for one in offered]
    taken = ((sum(t for t, _ in some), sum(g for _, g in some)) for some in product(*choices))
    return max(gain for tokens, gain in taken if tokens <= room)


# What fits


@given(
    offered=candidates() | candidates(nested=True), a=rooms, b=rooms, whole=rooms,
    stays=st.dictionaries(st.sampled_from([f"n{n}" for n in range(9)]), st.integers(0, 3)),
)  # fmt: skip
def test_what_is_chosen_never_exceeds_what_is_available(
    offered: list[Candidate], a: int, b: int, whole: int, stays: dict[str, int]
) -> None:
    most = {one.node: len(one.levels) - 1 for one in offered}
    kept = {node: min(level, most.get(node, level)) for node, level in stays.items()}
    must = [one for one in offered if one.priority == "CRITICAL"]
    least = sum(one.levels[-1].tokens for one in must)
    if least > whole:
        with pytest.raises(BudgetExceededError) as error:
            allocated(offered, {"a": a, "b": b}, whole, kept)
        assert (error.value.needed, error.value.available) == (least, whole)
        return
    items, omissions = allocated(offered, {"a": a, "b": b}, whole, kept)
    assert sum(item.tokens for item in items) <= whole
    assert sorted([one.node for one in items] + [one.node for one in omissions]) == sorted(
        one.node for one in offered
    )
    twice = {one.node for one in omissions if one.reason == DUPLICATE}
    assert {one.node for one in must} <= shown(items).keys() | twice


@given(offered=candidates(["LOW"]) | candidates(["LOW"], nested=True), whole=rooms)
def test_no_omitted_item_would_have_fitted_beside_what_is_in(
    offered: list[Candidate], whole: int
) -> None:
    items, omissions = allocated(offered, {"a": whole, "b": whole}, whole)
    left = whole - sum(item.tokens for item in items)
    by_node = {one.node: one for one in offered}
    out = [one.node for one in omissions if one.reason != DUPLICATE]
    assert all(by_node[node].levels[-1].tokens > left for node in out)


def test_what_a_section_does_not_use_flows_on_to_others() -> None:
    offered = [one("f", (60, 3.0)), one("g", (60, 2.0), section="b")]
    items, _ = allocated(offered, {"a": 120, "b": 0}, 120)
    assert shown(items) == {"f": "full", "g": "full"}


def test_a_higher_priority_has_its_own_budget_first() -> None:
    offered = [one("f", (60, 9.0)), one("g", (60, 1.0), section="b", priority="HIGH")]
    items, _ = allocated(offered, {"a": 60, "b": 60}, 60)
    assert shown(items) == {"g": "full"}


def test_what_is_critical_is_lowered_before_anything_of_it_is_left_out() -> None:
    offered = [one(n, (50, 2.0), (10, 1.0), priority="CRITICAL") for n in "fgh"]
    items, omissions = allocated(offered, {"a": 70}, 70)
    assert (shown(items), omissions) == ({"f": "full", "g": "summary", "h": "summary"}, [])


def test_within_a_rank_the_lower_score_is_lowered_first_and_named_last_where_it_is_out() -> None:
    sizes = ((50, 2.0), (10, 1.0))
    must = [one(n, *sizes, priority="CRITICAL", score=s) for n, s in (("f", 0.2), ("g", 0.7))]
    items, _ = allocated(must, {"a": 70}, 70)
    assert [(item.node, item.level) for item in items] == [("g", "full"), ("f", "summary")]
    may = [one(n, (50, 2.0), score=s) for n, s in (("f", 0.2), ("g", 0.7), ("h", 0.7))]
    _, omissions = allocated(may, {"a": 9}, 9)
    assert [omission.node for omission in omissions] == ["g", "h", "f"], "ties by node"


# How near the best


@settings(max_examples=300)
@given(one=candidates(["LOW"], most=1), start=st.integers(OUT, 3))
def test_steps_rise_along_the_convex_hull(one: list[Candidate], start: int) -> None:
    for candidate in one:
        least = len(candidate.levels) if start == OUT else min(start, len(candidate.levels) - 1)
        found = steps(candidate, 0, OUT if start == OUT else least)
        assert all(a.ratio > b.ratio > 0 for a, b in pairwise(found))
        assert all(a.end == b.start and a.end > b.end for a, b in pairwise(found))
        assert all(0 <= step.end < least for step in found)
        assert [step.tokens for step in found] == [
            candidate.levels[step.end].tokens for step in found
        ]


def test_a_level_below_the_hull_is_passed_over() -> None:
    convex = one("f", (100, 10.0), (50, 1.0), (10, 0.9))
    assert [step.end for step in steps(convex)] == [0]
    assert [step.end for step in steps(one("g", (100, 10.0), (50, 8.0), (10, 4.0)))] == [2, 1, 0]


@settings(max_examples=300)
@given(offered=candidates(["LOW"], "a", most=5, detail=3), room=rooms, own=st.booleans())
def test_what_is_gained_is_at_most_one_step_short_of_the_best(
    offered: list[Candidate], room: int, own: bool
) -> None:
    items, _ = allocated(offered, {"a": room if own else 0}, room)
    gained, best = gain_of(offered, items), best_gain(offered, room)
    assert best - largest_step(offered) <= gained <= best


def largest_step(offered: Sequence[Candidate]) -> float:
    """The most that one step along the hull of a candidate gains."""
    gains = [0.0]
    for each in offered:
        ends = [step.end for step in steps(each)]
        reached = [0.0, *(each.levels[end].gain for end in ends)]
        gains += [b - a for a, b in pairwise(reached)]
    return max(gains)


def shares_of_the_best(tightest: float, widest: float, cases: int = 400) -> list[float]:
    """Of the best gain, what is reached in rooms of a part of all that is offered; one a case."""
    random, found = Random(20261120), []
    for _ in range(cases):
        offered = []
        for number in range(random.randint(2, 5)):
            tokens = sorted(random.sample(range(5, 200), random.randint(1, 3)), reverse=True)
            gains = sorted((random.random() for _ in tokens), reverse=True)
            offered.append(one(f"n{number}", *zip(tokens, gains, strict=True)))
        whole = sum(each.levels[0].tokens for each in offered)
        room = max(200, round(whole * random.uniform(tightest, widest)))
        items, _ = allocated(offered, {"a": room}, room)
        found.append(gain_of(offered, items) / best_gain(offered, room))
    return found


@pytest.mark.parametrize(
    ("rooms", "mean", "worst"),
    # Measured: mean 0.977, worst 0.391, the best itself in 78 %; then 0.983, 0.391 and 80 %. The
    # worst are rooms that one big thing would fill which small ones of less gain had entered.
    [((0.2, 0.9), 0.97, 0.39), ((0.5, 0.9), 0.98, 0.39)],
)
def test_on_small_cases_the_best_is_nearly_reached(
    rooms: tuple[float, float], mean: float, worst: float
) -> None:
    found = shares_of_the_best(*rooms)
    assert sum(found) / len(found) >= mean
    assert min(found) >= worst


def test_room_that_is_left_is_not_used_to_lose_gain() -> None:
    items, _ = allocated([one("f", (50, 1.0), (10, 2.0))], {"a": 100}, 100)
    assert shown(items) == {"f": "summary"}
