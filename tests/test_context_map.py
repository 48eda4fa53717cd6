"""What may stand on a map, which lines are chosen, and what edits make of it."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.context_map import SECTIONS, MapItem, lawful, rendered, within
from backcast.domain.map_lines import Costs, Line, chosen, faded, gains
from backcast.domain.memory_events import MapEdit, MapEdited
from backcast.domain.policy import SECTION_WORTH, TAG_WORTH, MapSettings
from backcast.engine.memory.mapping.updating import ByWorth
from backcast.projections.context_map import MOST, REMEMBERED, ContextMap, edited, ranked, worth

ITEM_TOKENS = 30
Thing = TypeVar("Thing", Line, MapItem)
texts = st.text("ab #[]-01\n", min_size=1, max_size=40)
items = st.lists(
    st.builds(
        MapItem,
        id=st.integers(1, 99).map(lambda n: f"cr-{n:05}"),
        section=st.sampled_from(sorted(SECTIONS)),
        text=texts.filter(lawful),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)
code = st.lists(
    st.builds(
        Line,
        node=st.integers(0, 60).map(lambda n: f"function:f{n % 4}.py::g{n}"),
        path=st.just(""),
        text=st.just("def g()"),
        tokens=st.integers(1, 40),
    ),
    max_size=40,
    unique_by=lambda one: one.node,
).map(lambda some: [one._replace(path=one.node[9:14]) for one in some])


def words(text: str) -> int:
    """A count of tokens that grows with every letter."""
    return len(text)


def add(text: str, section: str = "CONTEXT ROADMAP", **more: object) -> MapEdit:
    """An edit that adds an item."""
    return MapEdit(operation="ADD", section=section, text=text, **more)


EMPTY = ContextMap("shop")


def after(*edits: MapEdit, map: ContextMap = EMPTY) -> ContextMap:
    """A map after one more update of these edits."""
    return edited(map, MapEdited(edits=edits), "task", 7)


def test_sections_stand_in_their_order_and_items_by_number() -> None:
    map = after(add("LIMIT = 64", "DOMAIN CONSTANTS"), add("a.py: first"), add("b.py: second"))
    assert rendered(map.items.values(), stale=["cr-00003"]) == (
        "## CONTEXT ROADMAP\n[cr-00002] a.py: first\n[cr-00003] b.py: second (stale)\n"
        "## DOMAIN CONSTANTS\n[dc-00001] LIMIT = 64"
    )
    assert rendered([]) == ""


@given(some=items, budget=st.integers(0, 300), stale=st.sets(st.integers(1, 99)))
def test_a_map_is_never_over_its_tokens(some: list[MapItem], budget: int, stale: set[int]) -> None:
    old = [f"cr-{number:05}" for number in stale]
    assert words(rendered(within(some, budget, words, old), old)) <= budget


def test_a_budget_below_its_headings_shows_nothing() -> None:
    assert within(list(after(add("a.py: it")).items.values()), 10, words) == []


@given(text=texts)
def test_no_line_of_an_item_can_be_taken_for_a_heading_or_another_item(text: str) -> None:
    map = after(add(text))
    lines = rendered(map.items.values()).split("\n")
    headings = [line for line in lines if line.startswith("##")]
    ids = [line for line in lines if line.startswith("[")]
    assert len(headings) == len(ids) == len(map.items) == (1 if lawful(text) else 0)
    assert map.refused == 1 - len(map.items)


def test_a_number_is_never_given_twice_and_replacing_keeps_it() -> None:
    map = after(add("a.py: it"), add("b.py: it"))
    map = after(MapEdit(operation="DELETE", item="cr-00002"), add("c.py: it"), map=map)
    assert sorted(map.items) == ["cr-00001", "cr-00003"]
    new = MapEdit(operation="REPLACE", item="cr-00001", text="a.py: anew", nodes=("module:a.py",))
    map = after(new, map=map)
    assert map.items["cr-00001"].text == "a.py: anew"
    assert map.items["cr-00001"].nodes == ("module:a.py",)
    assert (map.items["cr-00001"].added, map.updates, map.refused) == (1, 3, 0)


@pytest.mark.parametrize(
    "edit",
    [
        MapEdit(operation="DELETE", item="cr-00099"),
        MapEdit(operation="REPLACE", item="dc-00001", text="it"),
        MapEdit(operation="REPLACE", item="cr-00001", text="it\n## CONTEXT ROADMAP"),
        add("it", section="PRIVATE"),
        add("it\n[cr-00001] that"),
        add("\x1b[31mred"),
        add("word " * 50_000),
        add(" "),
        add("b.py: it", refused="too many"),
    ],
)
def test_an_edit_that_cannot_be_made_is_counted_and_changes_nothing(edit: MapEdit) -> None:
    map = after(add("a.py: it"))
    then = after(edit, map=map)
    assert then.items == map.items
    assert (then.refused, then.numbers) == (1, map.numbers)


def test_ten_thousand_items_at_once_are_bounded() -> None:
    map = after(*(add(f"a.py: thing {number}") for number in range(10_000)))
    assert len(map.items) == MOST
    assert map.refused == 10_000 - MOST


def test_what_helped_is_worth_more_and_fades() -> None:
    map = after(add("a.py: it"), add("b.py: it"))
    settings, told = MapSettings(), {"cr-00002": "helpful", "cr-00001": "odd", "cr-00099": "stale"}
    map = edited(map, MapEdited(tags=told), "task", 8)
    assert [one.id for one in ranked(map, settings)] == ["cr-00002", "cr-00001"]
    helped = map.items["cr-00002"]
    assert worth(helped, 2, settings) > worth(helped, 9, settings) > worth(helped, 400, settings)
    assert map.items["cr-00001"].tags == ()


def test_a_default_map_takes_nothing_for_size_and_protects_no_section() -> None:
    assert (MapSettings().size, MapSettings().core) == (0.0, ())


def test_of_two_that_helped_alike_the_longer_is_worth_less() -> None:
    map = after(add("a.py: " + "word " * 30), add("b.py: it"))
    map = edited(map, MapEdited(tags=dict.fromkeys(map.items, "helpful")), "task", 8)
    assert [one.id for one in ranked(map, MapSettings())] == ["cr-00001", "cr-00002"]
    sized = MapSettings(size=0.5)
    assert [one.id for one in ranked(map, sized)] == ["cr-00002", "cr-00001"]
    long = map.items["cr-00001"]
    taken = worth(long, 2, MapSettings()) - worth(long, 2, sized)
    assert taken == pytest.approx(0.5 * len(long.text) / 100)


def test_what_is_protected_goes_last_however_little_it_is_worth() -> None:
    map = after(add("Purpose: to sell.", "CONTEXT UNDERSTANDING"), add("a.py: it"))
    for _ in range(9):
        told = {"cu-00001": "harmful", "cr-00002": "helpful"}
        map = edited(map, MapEdited(tags=told), "task", 8)
    alone = words("## CONTEXT UNDERSTANDING\n[cu-00001] Purpose: to sell.")
    gone = {
        core: [one.item for one in ByWorth(words).evict(map, alone, MapSettings(core=core))]
        for core in ((), ("CONTEXT UNDERSTANDING",))
    }
    assert gone == {(): ["cu-00001"], ("CONTEXT UNDERSTANDING",): ["cr-00002"]}


choices = st.builds(
    MapSettings,
    size=st.sampled_from([0.0, 0.3, 2.0]),
    fading=st.sampled_from([0.5, 0.85, 1.0]),
    core=st.lists(st.sampled_from(sorted(SECTIONS)), max_size=3, unique=True).map(tuple),
    sections=st.just(SECTION_WORTH) | st.just(dict.fromkeys(SECTION_WORTH, 0.0)),
    tags=st.fixed_dictionaries({tag: st.integers(-2, 2).map(float) for tag in TAG_WORTH}),
)
tagged = st.lists(st.dictionaries(st.integers(0, 11), st.sampled_from(sorted(TAG_WORTH))))


def told_of(some: Sequence[MapItem], tags: Sequence[dict[int, str]]) -> ContextMap:
    """A map of these items, of which updates said this, by their places."""
    items = {one.id: one._replace(tags=()) for one in some}
    map = ContextMap("shop", items=EMPTY.items.update(items))
    for update in tags:
        told = {some[place].id: tag for place, tag in update.items() if place < len(some)}
        map = edited(map, MapEdited(tags=told))
    return map


@given(some=items, tags=tagged, budget=st.integers(0, 300), settings=choices)
def test_what_is_evicted_leaves_a_map_within_its_tokens_whatever_the_settings(
    some: list[MapItem], tags: list[dict[int, str]], budget: int, settings: MapSettings
) -> None:
    map = told_of(some, tags)
    gone = ByWorth(words).evict(map, budget, settings)
    left = edited(map, MapEdited(edits=tuple(gone))).items.values()
    prose = [one for one in left if "\n" not in one.text]
    assert words(rendered(prose)) <= budget
    assert all("\n" not in map.items[edit.item].text for edit in gone)
    mixed = EMPTY.items.update({one.id: one for one in _mixed(list(map.items.values()))})
    assert ByWorth(words).evict(map._replace(items=mixed), budget, settings) == gone


@given(some=items, tags=tagged, budget=st.integers(0, 300), settings=choices)
def test_protected_sections_keep_what_they_would_keep_alone(
    some: list[MapItem], tags: list[dict[int, str]], budget: int, settings: MapSettings
) -> None:
    map = told_of(some, tags)
    there = ranked(map, settings)
    own = [one for one in there if one.section in settings.core]
    assert there[: len(own)] == own
    kept = within(there, budget, words)
    assert kept[: len(within(own, budget, words))] == within(own, budget, words)


def test_the_last_updates_are_remembered_of_each_node() -> None:
    map = ContextMap("shop")
    for _ in range(REMEMBERED + 9):
        map = edited(map, MapEdited(used=("function:a.py::f",), changed=("class:b.py::C",)))
    assert len(map.uses["function:a.py::f"]) == len(map.changes["b.py"]) == REMEMBERED
    assert map.uses["function:a.py::f"][0] == (REMEMBERED + 9, 1.0)


def test_evidence_is_brought_to_one_measure_before_it_is_weighed() -> None:
    found = gains({"used": {"a": 1, "b": 3}, "needed": {"b": 500}}, {"used": 2, "needed": 1})
    assert found == {"a": 0.5, "b": 2.5}
    assert faded([(5, 1.0), (3, 0.5)], 5, 0.5) == 1.125


@given(lines=code, tokens=st.integers(0, 300), data=st.data())
def test_lines_fit_and_the_same_ones_are_chosen_whatever_their_order(
    lines: list[Line], tokens: int, data: st.DataObject
) -> None:
    gain = {one.node: data.draw(st.integers(0, 5)) / 7 for one in lines}
    costs = Costs(ITEM_TOKENS, lambda path: 6)
    groups = chosen(lines, gain, tokens, costs)
    assert sum(6 + sum(one.tokens for one in group.lines) for group in groups) <= tokens
    for group in groups:
        size = 6 + sum(one.tokens for one in group.lines)
        assert size <= ITEM_TOKENS or len(group.lines) == 1
        assert {one.path for one in group.lines} == {group.path}
    shown = [one.node for group in groups for one in group.lines]
    assert len(shown) == len(set(shown))
    assert all(gain[node] > 0 for node in shown)
    assert chosen(_mixed(lines), gain, tokens, costs) == groups


def _mixed(lines: list[Thing]) -> list[Thing]:
    return lines[::2] + lines[1::2][::-1]
