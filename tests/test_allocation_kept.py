"""What is shown once, what stays as it was, and why the rest is left out."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.allocation import DUPLICATE, LOWER, OVER, allocated, steps
from backcast.domain.context import Candidate
from tests.candidates import candidates, gain_of, one, rooms, shown

# What is inside another


def a_class(priority: str = "LOW") -> list[Candidate]:
    """A class, two methods in it, and something else."""
    return [
        one("C", (60, 9.0), (10, 1.0), priority=priority),
        one("C.m", (30, 8.0), within="C", section="b"),
        one("C.n", (30, 0.5), within="C", section="c"),
        one("f", (40, 0.1)),
    ]


def test_a_class_shown_in_full_makes_its_methods_duplicates_and_frees_their_tokens() -> None:
    items, omissions = allocated(a_class(), {"a": 100, "b": 0}, 100)
    assert shown(items) == {"C": "full", "f": "full"}
    assert {one.node: one.reason for one in omissions} == {"C.m": DUPLICATE, "C.n": DUPLICATE}
    items, _ = allocated(a_class(), {"a": 100, "b": 100}, 89)
    assert shown(items)["C"] == "full"


def test_a_class_shown_by_its_line_leaves_its_methods_as_they_are() -> None:
    items, _ = allocated(a_class(), {"b": 100}, 59)
    assert shown(items) == {"C": "summary", "C.m": "full"}


def test_sections_without_a_budget_may_hold_what_a_class_makes_needless() -> None:
    items, _ = allocated(a_class(), {}, 60)
    assert shown(items) == {"C": "full"}


def test_a_method_that_must_be_shown_is_shown_once_where_its_class_must_be() -> None:
    offered = [each._replace(priority="CRITICAL") for each in a_class()]
    items, omissions = allocated(offered, {"a": 100, "b": 100}, 200)
    assert shown(items) == {"C": "full", "f": "full"}
    assert {one.reason for one in omissions} == {DUPLICATE}


@given(offered=candidates(nested=True), whole=rooms)
def test_nothing_is_shown_twice(offered: list[Candidate], whole: int) -> None:
    lighter = [each._replace(priority="LOW") for each in offered]
    items, omissions = allocated(lighter, {"a": whole, "b": 0}, whole)
    whole_texts = {item.node for item in items if item.level == "full"}
    within = {each.node: each.within for each in lighter}
    assert not any(within[item.node] in whole_texts for item in items)
    twice = {one.node for one in omissions if one.reason == DUPLICATE}
    assert twice == {one.node for one in omissions if within[one.node] in whole_texts}


# Why something is left out


def test_what_gains_less_for_its_tokens_than_all_that_came_in_is_told_so() -> None:
    offered = [one("f", (50, 5.0)), one("g", (50, 4.0)), one("h", (50, 3.0))]
    _, omissions = allocated(offered, {"a": 100}, 100)
    assert [(one.node, one.reason) for one in omissions] == [("h", LOWER)]


def test_what_gains_more_but_is_too_big_is_told_so() -> None:
    offered = [one("f", (150, 50.0)), one("g", (50, 4.0))]
    _, omissions = allocated(offered, {"a": 100}, 100)
    assert [(one.node, one.reason) for one in omissions] == [("f", OVER)]


@given(offered=candidates(["HIGH", "LOW"]), a=rooms, whole=rooms)
def test_a_lower_score_is_lower_than_that_of_each_thing_shown(
    offered: list[Candidate], a: int, whole: int
) -> None:
    items, omissions = allocated(offered, {"a": a, "b": whole}, whole)
    by_node = {each.node: each for each in offered}
    least = min((gain_of(offered, [item]) / item.tokens for item in items), default=0.0)
    for omission in omissions:
        best = max((step.ratio for step in steps(by_node[omission.node])), default=0.0)
        assert omission.reason in (OVER, LOWER)
        assert omission.reason == OVER or best < least
        # What is told of both is what was compared.
        told = omission.worth or 0.0
        assert omission.reason == OVER or all(told <= (item.worth or 0.0) for item in items)


# What is kept


@given(
    offered=candidates(["HIGH", "LOW"]), whole=rooms,
    stays=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), max_size=6),
)  # fmt: skip
def test_what_is_kept_is_shown_as_it_was_the_first_ones_longest(
    offered: list[Candidate], whole: int, stays: list[tuple[int, int]]
) -> None:
    by_node = {each.node: each for each in offered}
    those = {f"n{number}": level for number, level in stays if f"n{number}" in by_node}
    kept = {node: min(level, len(by_node[node].levels) - 1) for node, level in those.items()}
    left, stayed = whole, dict[str, str]()
    for node, level in kept.items():
        if by_node[node].levels[level].tokens <= left:
            left -= by_node[node].levels[level].tokens
            stayed[node] = by_node[node].levels[level].name
    items, _ = allocated(offered, {"a": whole, "b": 0}, whole, {**kept, "gone": 0})
    assert shown(items) | stayed == shown(items)


def test_what_is_kept_goes_before_what_gains_more_but_not_before_what_is_critical() -> None:
    offered = [
        one("f", (50, 9.0)), one("g", (50, 0.1), (10, 0.05)),
        one("h", (40, 1.0), priority="CRITICAL"),
    ]  # fmt: skip
    kept: Mapping[str, int] = {"g": 0}
    assert shown(allocated(offered, {"a": 90}, 90, kept)[0]) == {"h": "full", "g": "full"}
    assert shown(allocated(offered, {"a": 60}, 60, kept)[0]) == {"h": "full", "g": "summary"}


def test_a_method_that_is_kept_is_not_given_up_for_its_class() -> None:
    items, _ = allocated(a_class(), {"a": 100, "b": 100}, 200, {"C.m": 0})
    assert shown(items) == {"C": "summary", "C.m": "full", "C.n": "full", "f": "full"}


def test_a_method_is_not_kept_beside_the_class_that_holds_it() -> None:
    items, _ = allocated(a_class("CRITICAL"), {"a": 100, "b": 100}, 200, {"C.m": 0})
    assert shown(items) == {"C": "full", "f": "full"}
