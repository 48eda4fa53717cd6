"""Work that was done, halted or cut off is begun again only where that is meant, and facts of what
was thrown away hold no more."""

from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.domain.timed_facts import about, holding
from backcast.engine.log.store import EventStore
from backcast.projections import facts, fold
from tests.test_dispatch import TASKS, dispatched, git, own_folder
from tests.upstreams import backcast

__all__ = ["own_folder"]


def test_a_done_task_whose_box_was_opened_by_a_checkout_is_marked_and_not_done_again(
    tmp_path: Path,
) -> None:
    dispatched(tmp_path, "good")
    place = tmp_path / "cart"
    git(place, "checkout", "-q", "tasks.md")
    assert (place / "tasks.md").read_text() == TASKS
    done = dispatched(tmp_path, "good")
    commit = git(place, "rev-parse", "--short=7", "backcast/cart").strip()
    assert (
        f"1.1: the log has it as done, {commit} on backcast/cart: its box is marked again;"
        " '--again 1.1' does it anew" in done.lines
    )
    assert (place / "tasks.md").read_text().count("[x]") == 2
    assert len(done.facts("DISPATCH_STARTED")) == 1


def test_a_done_task_is_done_anew_where_that_is_asked_for(tmp_path: Path) -> None:
    dispatched(tmp_path, "good")
    with pytest.raises(InputError, match="no task '7'"):
        dispatched(tmp_path, "marks", again=("7",))
    done = dispatched(tmp_path, "marks", again=("1",))
    assert done.stopped == ""
    attempts = [started["attempt"] for started in done.facts("DISPATCH_STARTED")]
    assert attempts == [1, 1]
    names = git(tmp_path / "cart", "ls-tree", "--name-only", "backcast/cart").split()
    assert "1.1.txt" in names


def test_a_done_task_with_other_words_is_another_task(tmp_path: Path) -> None:
    dispatched(tmp_path, "good")
    tasks = tmp_path / "cart/tasks.md"
    tasks.write_text(TASKS.replace("See cart.py.", "See cart.py, and tell the unit."))
    done = dispatched(tmp_path, "with-unit")
    assert any("its words have changed since" in line for line in done.lines)
    assert len(done.facts("DISPATCH_STARTED")) == 2


def held(folder: Path, thing: str, *, ended: bool = False) -> list[tuple[str, bool, int, bool]]:
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        slots = fold(facts, store.read("cart")).slots
    return [(fact.relation, fact.found, fact.ended_by or 0, fact.refuted)
            for fact in about(holding(slots, ended=ended), thing)]  # fmt: skip


def test_what_an_attempt_changed_holds_no_more_once_its_work_is_thrown_away(
    tmp_path: Path,
) -> None:
    done = dispatched(tmp_path, "weakens", attempts=2)
    first, second = (event.version for event in done.events if event.type == "DISPATCH_STARTED")
    [halt] = [event.version for event in done.events if event.type == "ITEM_DECIDED"]
    every = held(tmp_path, "test_cart.py", ended=True)
    ends = [end for relation, found, end, _ in every if found and relation == "changed by"]
    assert ends == [second, halt]
    assert first < second
    dispatched(tmp_path, "good")
    assert ("changed by", True, 0, False) in held(tmp_path, "cart.py"), "and what landed holds"


def test_a_claim_to_have_changed_a_file_is_refuted_by_the_check(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "notes")
    [checked] = [event.version for event in done.events if event.type == "CLAIM_CHECKED"]
    assert ("changed by", False, checked, True) in held(tmp_path, "cart.py", ended=True)
    shown = backcast(tmp_path, "show", "facts", "cart", "--about", "cart.py", "--ended").decode()
    assert f"refuted by event {checked}" in shown


def test_a_ledger_is_shown_where_an_agent_was_ended_before_its_first_call(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "good")
    given = [
        event.fact.model_copy(update={"recorded_as": "again.1"})
        if event.type == "DISPATCH_STARTED" else event.fact
        for event in done.events
    ]  # fmt: skip
    with EventStore.open(f"sqlite:///{tmp_path}/again.db", create=True) as store:
        store.append("again", given, after=0, writer="dispatch")
    url = f"sqlite:///{tmp_path}/again.db"
    shown = backcast(tmp_path, "show", "ledger", "again", "--store", url).decode()
    assert "implementer python" in shown
