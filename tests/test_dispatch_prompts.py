"""Prompts of dispatches: built of parts, lowered in stages, rules whole, rebuilt from the log."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.dispatch_prompt import PromptParts, sections_of, stable_end
from backcast.domain.errors import InputError
from backcast.domain.ledger import Ledger, LedgerItem
from backcast.domain.prompt_sections import KEPT, STAGES, compacted, joined
from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import verified
from tests.test_dispatch import TASKS, dispatched, git, own_folder, repository
from tests.upstreams import BACKCAST

__all__ = ["own_folder"]


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*BACKCAST, *arguments], capture_output=True, text=True, check=False)


WORDS = st.text("ab c\n.é", max_size=400)
PARTS = st.builds(
    PromptParts,
    role=st.sampled_from(["implementer", "reviewer"]), task_id=st.just("1.1"),
    title=st.just("Count"), details=WORDS,
    guides=st.lists(st.tuples(st.just("AGENTS.md"), st.just("Never push.")), max_size=1),
    paths=st.lists(st.from_regex(r"[a-c]/[a-z]{1,8}\.py", fullmatch=True), max_size=40),
    ledger=st.none() | st.builds(
        lambda notes: Ledger("running", tuple(LedgerItem(f"1.{n}", note) for n, note in
                                              enumerate(notes, 1))), st.lists(WORDS, max_size=8)),
    attempt=st.integers(1, 4), findings=st.lists(WORDS, max_size=5),
    failures=st.lists(WORDS, max_size=5), fixes=st.lists(st.just("name the unit"), max_size=2),
    issues=st.lists(st.just("major: no unit"), max_size=2), patch=WORDS,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PARTS, st.integers(0, 6000))
def test_rules_and_required_fixes_stand_whole_in_every_prompt_or_it_is_refused(
    parts: PromptParts, room: int
) -> None:
    sections = sections_of(parts)
    found = compacted(sections, room, len)
    kept = [section.texts[0] for section in sections if section.group == KEPT]
    if found.lacks:
        least = [0 if part.group == KEPT else len(part.texts) - 1 for part in sections]
        assert len(joined(sections, least)) > room
        return
    assert found.tokens == len(found.text) <= room
    assert [text for text in kept if text not in found.text] == []
    assert found.stage in STAGES
    assert (found.levels == (0,) * len(sections)) == (found.stage == STAGES[0])


@settings(max_examples=100, deadline=None)
@given(PARTS)
def test_more_room_never_shows_less(parts: PromptParts) -> None:
    sections = sections_of(parts)
    whole = joined(sections, [0] * len(sections))
    found = [compacted(sections, room, len) for room in range(0, len(whole) + 50, 50)]
    fitting = [prompt for prompt in found if not prompt.lacks]
    assert fitting[-1].text == whole
    for less, more in pairwise(fitting):
        assert all(a >= b for a, b in zip(less.levels, more.levels, strict=True))


def test_the_delta_is_pruned_first_then_the_surroundings_then_all_but_the_rules() -> None:
    parts = PromptParts(
        "implementer", "1.1", "Count", paths=[f"pkg/module_{n}.py" for n in range(50)],
        ledger=Ledger("running", tuple(LedgerItem(f"1.{n}", "a task") for n in range(1, 40))),
        attempt=2, failures=["test_total: " + "1 is not 2. " * 60],
    )  # fmt: skip
    sections = sections_of(parts)
    size = len(joined(sections, [0] * len(sections)))
    seen = dict.fromkeys(compacted(sections, room, len).stage for room in range(size, 0, -1))
    assert list(seen)[:4] == ["whole", "delta", "surroundings", "rules and objective"]
    small = compacted(sections, size - 1300, len)
    assert "[x] 1.39" not in small.text
    assert "# Files of the project" in small.text


def test_what_was_tried_before_is_lowered_first_and_never_longer_than_its_bound() -> None:
    patch = "diff --git a/a.py b/a.py\n" + "+x = 1\n" * 5000
    tried = PromptParts("implementer", "1.1", "Count", attempt=2, patch=patch,
                        findings=["word " * 200])  # fmt: skip
    sections = sections_of(tried)
    assert sections[-1].name == "changes"
    assert 7_900 < len(sections[-1].texts[0]) < 8_200
    whole = joined(sections, [0] * len(sections))
    less = compacted(sections, len(whole) - 1, len)
    assert less.levels == (*(0,) * (len(sections) - 1), 1)
    assert less.text.endswith("which is not in this folder: a.py\n")
    assert sections_of(tried._replace(attempt=1))[-1].name != "changes"


def test_what_does_not_differ_between_tasks_stands_first() -> None:
    first, second = (
        sections_of(PromptParts("implementer", name, "x", paths=["a.py"], guides=[("A.md", "No.")]))
        for name in ("1", "2")
    )
    end = stable_end(first)
    assert [section.name for section in first[:end]] == ["rules", "contract", "guide A.md", "map"]
    assert first[:end] == second[:end]
    assert first[end] != second[end]


def test_a_prompt_is_recorded_with_its_parts_and_rebuilt(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / "AGENTS.md").write_text("Prices are never negative.\n")
    git(place, "add", "--all")
    git(place, "commit", "-qm", "rules")
    done = dispatched(tmp_path, "learns", attempts=2)
    first, second = done.facts("DISPATCH_STARTED")
    names = [part["name"] for part in second["built"]["parts"]]
    assert names == ["rules", "contract", "guide AGENTS.md", "map", "task", "ledger", "attempt",
                     "findings", "failures"]  # fmt: skip
    assert first["built"]["prefix"] == second["built"]["prefix"]
    assert first["prompt_tokens"] < second["prompt_tokens"] <= second["built"]["room"]
    assert second["built"]["in_its_place"] > first["built"]["in_its_place"] > 0
    url = f"sqlite:///{tmp_path}/backcast.db"
    with EventStore.open(url) as store:
        verdicts = list(verified(store, "cart"))
        prompt = store.get(second["prompt"]).decode()
    assert [verdict.holds for verdict in verdicts] == [True, True]
    assert "Prices are never negative." in prompt
    assert prompt.index("# Files of the project") < prompt.index("# Task 1.1")
    assert prompt.index("# Task 1.1") < prompt.index("# Where the work stands")
    version = verdicts[1].version
    shown = cli("context", f"cart@{version}", "--store", url)
    assert (shown.returncode, shown.stdout) == (0, prompt)
    explained = cli("context", f"cart@{version}", "--explain", "--store", url).stdout
    assert "in place of" in explained
    assert "guide AGENTS.md" in explained
    compared = cli("diff", f"cart@{verdicts[0].version}", f"cart@{version}", "--store", url).stdout
    assert re.search(r"^task +\d+ +\d+ +same", compared, re.MULTILINE)
    assert "\nattempt: +# Attempt 2 of 2\n" in compared
    assert "\nfailures: +- test_cart.py::test_total: " in compared
    near = cli("context", "cart@1", "--store", url)
    assert near.returncode == 2
    assert f"cart@{verdicts[0].version}" in near.stderr


def test_a_prompt_whose_rules_do_not_fit_is_refused_before_anything_starts(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart", TASKS + "    - " + "Count each thing. " * 200 + "\n")
    with pytest.raises(InputError, match=r"must stand whole \(rules .* task 3,.*\), found 2,457"):
        dispatched(tmp_path, "good", limits={"window": 4096})
    assert git(place, "branch", "--list", "backcast/*") == ""


def test_a_changed_log_is_found_by_verify(tmp_path: Path) -> None:
    dispatched(tmp_path, "good")
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        [started] = [event for event in store.read("cart") if event.type == "DISPATCH_STARTED"]
        built = started.fact.built  # type: ignore[attr-defined]
        parts = tuple(part for part in built.parts if part.name != "map")
        fact = started.fact.model_copy(update={"built": built.model_copy(update={"parts": parts})})
        store.append("other", [fact], after=0)
        [verdict] = verified(store, "other")
    assert not verdict.holds
    assert "do not give" in verdict.rebuilt.why
    assert "ledger" in verdict.derived.why
