"""Candidates of any sizes and gains, and what is told of those that are shown."""

from collections.abc import Sequence

from hypothesis import strategies as st

from backcast.domain.context import PRIORITIES, Candidate, Item, Level

NAMES = ("full", "summary", "signature", "name")


def levels(*sizes: tuple[int, float]) -> tuple[Level, ...]:
    """Levels by their tokens and gains, the most detailed first."""
    return tuple(Level(name, name, *size) for name, size in zip(NAMES, sizes, strict=False))


def one(
    node: str,
    *sizes: tuple[int, float],
    priority: str = "LOW",
    within: str = "",
    section: str = "a",
    score: float | None = None,
) -> Candidate:
    known = sizes[0][1] if score is None else score
    return Candidate(node, section, priority, levels(*sizes), known, within=within)


def shown(items: Sequence[Item]) -> dict[str, str]:
    return {item.node: item.level for item in items}


def gain_of(offered: Sequence[Candidate], items: Sequence[Item]) -> float:
    gains = {(one.node, level.name): level.gain for one in offered for level in one.levels}
    return sum(gains[item.node, item.level] for item in items)


@st.composite
def candidates(
    draw: st.DrawFn,
    priorities: Sequence[str] = PRIORITIES,
    sections: str = "ab",
    most: int = 8,
    detail: int = 4,
    *,
    nested: bool = False,
) -> list[Candidate]:
    """Candidates with levels of falling size and gain; `nested` for some inside another."""
    found: list[Candidate] = []
    for number in range(draw(st.integers(0, most))):
        sizes = draw(st.sets(st.integers(1, 60), min_size=1, max_size=detail))
        gains = draw(st.lists(st.integers(0, 40), min_size=len(sizes), max_size=len(sizes)))
        both = zip(sorted(sizes, reverse=True), sorted(gains, reverse=True), strict=True)
        section, priority = draw(st.sampled_from(sections)), draw(st.sampled_from(priorities))
        within = f"n{draw(st.integers(0, 2))}" if nested and number > 2 else ""
        made = levels(*((size, float(gain)) for size, gain in both))
        found.append(
            Candidate(f"n{number}", section, priority, made, float(gains[0]), within=within)
        )
    return found


rooms = st.integers(0, 150)
