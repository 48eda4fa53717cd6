"""Facts with two times: what held when, as far as it was known; and what the log says by itself."""

import ast
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.dispatch_events import (
    ChangedFile,
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ResultClaimed,
)
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Committed,
    Fact,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    PlannedModule,
    PlanningComplete,
    SourceRead,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.facet_facts import statements
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.timed_facts import (
    RELATIONS,
    TAGS,
    FactEntry,
    TimedFact,
    about,
    holding,
    slot_of,
    stated,
)
from backcast.engine.interfaces.cli import main
from backcast.projections import facts, fold
from tests.strategies import NOON, logs

HERE = Path(__file__).parents[1]


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def log_of(*rows: Fact | tuple[int, Fact]) -> list[WorkflowEvent]:
    """Events a minute apart, or at the minutes that stand before them."""
    events = []
    for version, row in enumerate(rows, 1):
        at, fact = row if isinstance(row, tuple) else (version, row)
        because = (version - 1,) if isinstance(fact, ModuleOutlined) else ()
        time = minute(at)
        events.append(WorkflowEvent(version, "t", version, fact, time, time, "ann", because))
    return events


def known(*rows: Fact | tuple[int, Fact], ended: bool = True) -> list[TimedFact]:
    return holding(fold(facts, log_of(*rows)).slots, ended=ended)


def said(found: list[TimedFact], subject: str, relation: str) -> list[tuple[str, int, int | None]]:
    return [
        (fact.object, fact.event, fact.ended_by)
        for fact in found
        if (fact.subject, fact.relation) == (subject, relation)
    ]


def text(path: str, number: int, letter: str) -> ModuleIteration:
    return ModuleIteration(module_name=path, iteration=number, source="blob:" + letter * 64)


def outline(path: str, letter: str, base: str | None = None, gone: tuple[str, ...] = (),
            **facets: tuple[str, ...]) -> ModuleOutlined:  # fmt: skip
    named = {key.replace("__", ":"): facet for key, facet in facets.items()}
    return ModuleOutlined(
        module_name=path, source="blob:" + letter * 64, set=named, gone=gone,
        base="blob:" + base * 64 if base else None,
    )  # fmt: skip


# Two times


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 6)), max_size=9),
    st.integers(0, 9), st.integers(-1, 7),
)  # fmt: skip
def test_what_holds_is_the_last_that_had_begun_among_what_was_known(
    rows: list[tuple[str | None, int]], cut: int, at: int
) -> None:
    """An independent reading: no entry is sorted in, every question looks at all statements."""
    entries: tuple[FactEntry, ...] = ()
    begun = False
    seen: list[tuple[int, int, str | None]] = []
    for place, (object, since) in enumerate(rows[:cut], 1):
        entries = stated(entries, FactEntry(object, minute(since), place, place, NOON))
        begun |= object is not None
        if begun:
            seen.append((since, place, object))
    held = max((row for row in seen if row[0] <= at), default=(0, 0, None))
    later = sorted(row for row in seen if row > held)
    ends = next(((place, since) for since, place, object in later if object != held[2]), None)
    found = holding({slot_of("task:t", "checks"): entries}, at=minute(at))
    # What ends in the minute of its beginning never held.
    shown = [(fact.object, fact.ended_by, fact.until) for fact in found]
    until = minute(ends[1]) if ends else None
    expected = [] if held[2] is None else [(held[2], ends[0] if ends else None, until)]
    assert shown == expected


def test_a_late_record_about_an_earlier_time_stands_before_what_came_after() -> None:
    first, second = ChecksRan(passed=1, failed=1), ChecksRan(passed=2, failed=0)
    rows = [(10, first), (30, second), (20, ChecksRan(passed=0, failed=2))]
    log = log_of(*rows)
    late = fold(facts, log)
    assert said(holding(late.slots, minute(25)), "task:t", "checks") == [
        ("0 passed, 2 failed", 3, 2)
    ]
    early = fold(facts, log[:2])
    assert said(holding(early.slots, minute(25)), "task:t", "checks") == [
        ("1 passed, 1 failed", 1, 2)
    ]
    assert said(holding(late.slots), "task:t", "checks") == [("2 passed, 0 failed", 2, None)]


# What the log says


def test_a_signature_is_ended_by_the_text_that_changes_it() -> None:
    found = known(
        text("a.py", 1, "a"), outline("a.py", "a", sig__f=("function", "(x)"), imports=("os",)),
        text("a.py", 2, "b"), outline("a.py", "b", "a", sig__f=("function", "(x, y)")),
        text("a.py", 3, "c"), outline("a.py", "c", "b", ("imports",)),
    )  # fmt: skip
    assert said(found, "function:a.py::f", "signature") == [("(x)", 1, 3), ("(x, y)", 3, None)]
    assert said(found, "module:a.py", "imports") == [("os", 1, 5)]


def test_a_function_that_becomes_a_class_takes_nothing_along() -> None:
    found = known(
        text("a.py", 1, "a"),
        outline("a.py", "a", sig__f=("function", "()"), raises__f=("KeyError",)),
        text("a.py", 2, "b"), outline("a.py", "b", "a", sig__f=("class", "")),
    )  # fmt: skip
    assert said(found, "function:a.py::f", "raises") == [("KeyError", 1, 3)]
    assert said(found, "class:a.py::f", "raises") == [("KeyError", 3, None)]


def test_while_a_text_does_not_parse_nothing_else_is_known_of_it() -> None:
    found = known(
        text("a.py", 1, "a"), outline("a.py", "a", imports=("os",)),
        text("a.py", 2, "b"), outline("a.py", "b", "a", error=("3", "bad")),
        text("a.py", 3, "c"), outline("a.py", "c", "b", ("error",)),
    )  # fmt: skip
    assert said(found, "module:a.py", "imports") == [("os", 1, 3), ("os", 5, None)]
    assert said(found, "module:a.py", "does not parse") == [("3 bad", 3, 5)]


@pytest.mark.parametrize(
    "end",
    [
        ModuleDeleted(module_name="a.py"),
        ModuleRenamed(module_name="b.py", previous_name="a.py", iteration=1),
        ModuleIteration(module_name="a.py", iteration=2, unknown="an edit by lines"),
    ],
)
def test_nothing_outlined_outlives_its_text(end: Fact) -> None:
    found = known(text("a.py", 1, "a"), outline("a.py", "a", imports=("os",)), end)
    assert said(found, "module:a.py", "imports") == [("os", 1, 3)]


def test_a_module_that_comes_back_has_the_facts_of_its_new_text() -> None:
    """Its outline may be the difference to the one before it went."""
    found = known(
        text("a.py", 1, "a"), outline("a.py", "a", imports=("os",), sig__f=("function", "()")),
        ModuleDeleted(module_name="a.py"), text("a.py", 2, "b"),
        outline("a.py", "b", "a", imports=("os", "re")),
    )  # fmt: skip
    assert said(found, "module:a.py", "imports") == [("os", 1, 3), ("os", 4, None), ("re", 4, None)]
    assert said(found, "function:a.py::f", "signature") == [("()", 1, 3), ("()", 4, None)]


def test_a_text_that_is_outlined_after_its_module_went_has_facts_until_then() -> None:
    late = [(1, outline("a.py", "a", imports=("os",))), (4, outline("a.py", "b", "a"))]
    log = log_of(
        text("a.py", 1, "a"), ModuleDeleted(module_name="a.py"), (4, text("a.py", 2, "b")), *late
    )  # fmt: skip
    log[3:] = [log[3]._replace(because=(1,)), log[4]._replace(because=(3,))]
    found = holding(fold(facts, log).slots, ended=True)
    assert said(found, "module:a.py", "imports") == [("os", 1, 2), ("os", 3, None)]


def test_a_check_that_is_named_no_more_is_not_known_to_fail() -> None:
    failed = CheckFailure(name="test_a", message="no\nway", at="a.py:3")
    bad = ChecksRan(passed=1, failed=1, failures=(failed,))
    found = known(bad, bad, ChecksRan(passed=2, failed=0, contained=("time limit",)),
                  ChecksRan(passed=2, failed=0))  # fmt: skip
    assert said(found, "test:test_a", "verdict") == [("failed, a.py:3: no", 1, 4)]


def test_a_later_success_of_the_same_command_ends_its_failure() -> None:
    call = ToolCalled(tool="bash", call_id="1", arguments={"command": "pytest -q"})
    other = ToolCalled(tool="bash", call_id="2", arguments={"command": "ls"})
    back = ToolReturned(tool="bash", call_id="1", failed=True, message="2 failed")
    found = known(
        call, back, other, ToolReturned(call_id="2"), call, ToolReturned(call_id="1", tool="bash")
    )
    assert said(found, "command:pytest -q", "fails") == [("2 failed", 2, 6)]


def test_a_call_is_known_by_its_command_however_it_is_written_else_by_its_file() -> None:
    arguments = [
        {"command": ["ls", "-l"]}, {"cmd": "ls -l"}, {"command": 7, "path": "a.py"},
        {"file_path": "b.py", "path": "a.py"}, {"command": [], "path": ""}, "ls",
    ]  # fmt: skip
    found = [
        said.subject
        for each in arguments
        for said in known(
            ToolCalled(tool="t", call_id="1", arguments=each),
            ToolReturned(call_id="1", failed=True),
        )
    ]
    assert found == ["command:ls -l", "command:ls -l", "tool:t a.py", "tool:t b.py", "tool:t",
                     "tool:t"]  # fmt: skip


def test_a_text_says_how_it_is_known_and_by_which_commit() -> None:
    """A text that was read and is the known one says nothing new."""
    read, other = (SourceRead(path="a.py", source="blob:" + letter * 64) for letter in "ab")
    unknown = ModuleIteration(module_name="a.py", iteration=2, unknown="an edit by lines")
    found = known(
        Committed(sha="c" * 40, message="x", authored_at="", committed_at=""),
        (1, text("a.py", 1, "a")),
        read,
        other,
        unknown,
        text("a.py", 3, "b"),
    )
    assert said(found, "module:a.py", "text") == [
        ("iteration 1, sha256 aaaaaaaaaaaa, commit cccccccccccc", 2, 4),
        ("read, sha256 bbbbbbbbbbbb", 4, 5),
        ("iteration 2, not told: an edit by lines", 5, 6),
        ("iteration 3, sha256 bbbbbbbbbbbb", 6, None),
    ]


GIVEN = DispatchStarted(item="2", role="implementer", agent="pi")
HALT = ItemDecided(item="2", action="halt", reason="it fails")


@pytest.mark.parametrize(
    ("then", "ended"),
    [
        (GIVEN, 3),
        (HALT, 3),
        (GIVEN.model_copy(update={"role": "reviewer"}), None),
        (GIVEN.model_copy(update={"repairs": 2}), None),
        (GIVEN.model_copy(update={"item": "3"}), None),
        (HALT.model_copy(update={"cause": "budget"}), None),
        (HALT.model_copy(update={"action": "done"}), None),
    ],
)
def test_what_an_attempt_changed_holds_until_its_work_is_thrown_away(
    then: Fact, ended: int | None
) -> None:
    files = (ChangedFile(path="a.py", change="changed"),)
    done = DispatchEnded(dispatch=1, outcome="answered", commit="c", files=files)
    found = known(GIVEN, done, then)
    assert said(found, "module:a.py", "changed by") == [("pi for 2: changed", 2, ended)]


def test_a_claim_to_have_changed_what_git_does_not_see_is_refuted() -> None:
    result = {"status": "completed", "files_changed": ["a.py", "b.py"]}
    checked = ClaimChecked(dispatch=1, files=(ChangedFile(path="a.py", change="changed"),))
    found = known(GIVEN, ResultClaimed(dispatch=1, result=result), checked)
    claims = [(one.subject, one.ended_by, one.refuted) for one in found
              if one.relation == "changed by"]  # fmt: skip
    assert claims == [("module:a.py", None, False), ("module:b.py", 3, True)]


def test_claims_end_no_finding_and_a_new_plan_ends_the_old_one() -> None:
    plans = [PlanningComplete(planned=(PlannedModule(path=path),)) for path in ("a.py", "b.py")]
    written = SummaryWritten(node="module:a.py", text="Adds.\nMore.")
    found = known(*plans, text("a.py", 1, "a"), written)
    assert said(found, "task:t", "plans") == [("a.py", 1, 2), ("b.py", 2, None)]
    claimed = {fact.relation for fact in found if not fact.found}
    assert claimed == {"plans", "summary"}
    assert {fact.confidence for fact in found if fact.relation == "text"} == {1.0}


@given(logs())
def test_every_fact_has_a_tag_and_an_event_of_its_own_log(log: list[WorkflowEvent]) -> None:
    times = {event.version: event.timestamp for event in log}
    for fact in holding(fold(facts, log).slots, ended=True):
        assert fact.tag in TAGS
        assert RELATIONS[fact.relation] == fact.tag
        assert fact.recorded_by in times
        assert fact.until is None or fact.until >= fact.since


def test_facts_about_a_path_hold_its_nodes_and_whoever_imports_it() -> None:
    found = known(
        text("pkg/money.py", 1, "a"), outline("pkg/money.py", "a", sig__share=("function", "(x)")),
        text("pkg/cart.py", 1, "b"), outline("pkg/cart.py", "b", imports=(".money", "os")),
        text("tests/test_it.py", 1, "c"), outline("tests/test_it.py", "c", imports=("pkg.money",)),
    )  # fmt: skip
    names = {(fact.subject, fact.object) for fact in about(found, "pkg/money.py")}
    assert ("function:pkg/money.py::share", "(x)") in names
    assert ("module:pkg/cart.py", ".money") in names
    assert ("module:tests/test_it.py", "pkg.money") in names
    assert ("module:pkg/cart.py", "os") not in names


def test_the_facts_of_a_text_are_those_that_python_reads_in_it() -> None:
    """A second reading, by `ast` alone, of a recorded log's modules."""
    from backcast.engine.memory.outliner import outliner_of

    source = (HERE / "domain/timed_facts.py").read_text()
    outliner = outliner_of("a.py")
    assert outliner is not None
    from immutables import Map

    facets = Map(outliner.outline("a.py", source.encode()).facets)
    found = {(one.relation, one.object) for one in statements("a.py", facets)}
    tree = ast.parse(source)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {("imports", name) for name in imported} == {
        pair for pair in found if pair[0] == "imports"
    }


# The command


@pytest.fixture
def show_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str, int]]:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def run(*words: str) -> tuple[str, str, int]:
        try:
            main(words)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return *capsys.readouterr(), code

    assert run("import", "events", str(HERE / "fixtures/logs/addresses.jsonl"))[2] == 0
    return lambda address, *words: run("show", "facts", address, *words)


Show = Callable[..., tuple[str, str, int]]


def test_the_command_tells_when_what_holds_and_what_ended_it(show_facts: Show) -> None:
    out, _, code = show_facts("task-abc123@2026-11-20T10:03", "--about", "validators.py")
    assert "text: iteration 1, sha256 074e9aac37ed  [from 2026-11-20T10:02:20Z to" in out
    assert "to 10:03:45Z, event 6, ended by event 7]" in out
    assert ("imports: utils" in out, code) == (False, 0)


def test_a_moment_by_number_shows_nothing_that_was_recorded_later(show_facts: Show) -> None:
    words = ["task-abc123@6", "--about", "validators.py"]
    assert "ended by" not in show_facts(*words)[0]
    assert "event 6, ended by event 7" in show_facts(*words, "--known-at", "last")[0]


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["--about", "valdators.py"], "such as validators.py"),
        (["--tag", "odd"], "--tag: needed one of file change"),
        (["--known-at", "2026-11-20T10,2026-11-21T10"], "needed a zone"),
        (["--known-at", "nonsense"], "found 'nonsense'"),
    ],
)
def test_bad_questions_get_one_line(show_facts: Show, words: list[str], needed: str) -> None:
    show_facts("task-abc123")
    out, err, code = show_facts("task-abc123", *words)
    assert (out, code, err.count("\n")) == ("", 2, 1)
    assert needed in err


def test_a_query_keeps_within_its_tokens(show_facts: Show) -> None:
    words = ["task-abc123", "--query", "what does validators.py import?"]
    whole, small = show_facts(*words), show_facts(*words, "--tokens", "40")
    assert "imports: utils" in whole[0]
    assert 0 < small[0].count("\n") < whole[0].count("\n")
    assert "of 40 tokens" in small[1]
