"""`backcast audit`: what a person and a program read of a node's life."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.context_events import ContextBuilt, ContextItem, ContextOmission
from backcast.domain.events import Claim, ModuleIteration
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from tests.strategies import NOON

LOGS = Path(__file__).parents[1] / "fixtures/logs"
TILL = str(LOGS / "till.jsonl")
TO_CENTS = "function:money.py::to_cents"
ODD = "pkg/\x1b[2Jgone\n.py"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backcast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def ran(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main([*arguments, "--store", f"sqlite:///{tmp_path}/store.db"])
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return ran


def test_a_log_is_asked_as_a_store_is(backcast: Command) -> None:
    code, from_log, _ = backcast("audit", TILL, TO_CENTS)
    backcast("import", "events", TILL)
    assert (code, backcast("audit", "till", TO_CENTS)[1]) == (0, from_log)


def test_alike_prompts_in_a_row_are_one_row_for_people_and_many_for_programs(
    backcast: Command,
) -> None:
    _, out, _ = backcast("audit", TILL, TO_CENTS)
    [row] = [line for line in out.splitlines() if line.startswith("43 ")]
    assert row.split("shown ")[1].strip() == ("in 6 prompts (events 43, 49, 55, 59 ... 67) at full")
    _, out, _ = backcast("audit", TILL, TO_CENTS, "--json")
    *rows, standing = map(json.loads, out.splitlines())
    assert [row["event"] for row in rows if row["what"] == "shown"][2:8] == [
        43, 49, 55, 59, 63, 67,
    ]  # fmt: skip
    assert standing == {
        "node": TO_CENTS, "state": "there", "versions": 2, "summaries": 2, "holding": 1,
        "shown": 22, "within": 9, "omitted": 0, "not_offered": 3,
    }  # fmt: skip


def test_prompts_that_leave_a_node_out_for_other_reasons_are_rows_of_their_own(
    backcast: Command, tmp_path: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        for number, reason in enumerate(("over budget", "over budget", "masked")):
            left = ContextOmission(node="library:os", section="libraries", reason=reason)
            fact = ContextBuilt(omissions=(left,), target="module:a.py")
            store.append("t", [Claim(fact, NOON)], after=number)
    _, out, _ = backcast("audit", "t", "library:os")
    assert [line.split("omitted  ")[1].strip() for line in out.splitlines()[1:3]] == [
        "in 2 prompts (events 1, 2); over budget",
        "in libraries; masked; for module:a.py",
    ]
    _, out, _ = backcast("audit", "t", "library:os", "--json")
    assert json.loads(out.splitlines()[2]) == {
        "event": 3, "timestamp": "2026-11-20T12:00:00Z", "what": "omitted", "details": "masked",
        "target": "module:a.py", "section": "libraries",
    }  # fmt: skip


def test_it_ends_with_what_the_life_came_to(backcast: Command) -> None:
    assert backcast("audit", TILL, TO_CENTS)[1].splitlines()[-1] == (
        "function:money.py::to_cents: there; versions: 2; summaries: 2, 1 of them still holding;"
        " prompts: 34, shown in 22, within another in 9, left out of 0, not offered in 3"
    )


def test_the_prompt_that_a_row_names_can_be_printed(backcast: Command) -> None:
    backcast("import", "events", TILL)
    _, out, _ = backcast("audit", "till", TO_CENTS, "--json")
    shown = [row for row in map(json.loads, out.splitlines()) if row.get("level") == "full"]
    _, prompt, _ = backcast("context", f"till@{shown[-1]['event']}")
    assert "def to_cents(text: str) -> int:" in prompt


@pytest.mark.parametrize(
    ("bare", "node"),
    [
        ("money.py", "module:money.py"),
        ("money.py::to_cents", TO_CENTS),
        ("money.py::CENTS", "attribute:money.py::CENTS"),
        ("items.py::Item.price", "attribute:items.py::Item.price"),
        ("test_money.py::test_a_share_is_rounded_half_up",
         "test:test_money.py::test_a_share_is_rounded_half_up"),
    ],
)  # fmt: skip
def test_a_bare_path_and_name_are_enough(backcast: Command, bare: str, node: str) -> None:
    code, out, _ = backcast("audit", TILL, bare, "--json")
    assert (code, json.loads(out.splitlines()[-1])["node"]) == (0, node)


def test_a_moment_tells_of_what_had_happened_by_then(backcast: Command) -> None:
    backcast("import", "events", TILL)
    _, out, _ = backcast("audit", "till@100", TO_CENTS, "--json")
    *rows, standing = map(json.loads, out.splitlines())
    assert max(row["event"] for row in rows) <= 100
    assert (standing["versions"], standing["holding"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((TILL, "money.py::to_cent"), 2, "near it: 'function:money.py::to_cents'"),
        ((TILL, "class:money.py::to_cents"), 2, "near it: 'function:money.py::to_cents'"),
        ((TILL, "mony.py"), 2, "near it: 'module:money.py'"),
        ((TILL, "failure:1.1"), 2, "found 'failure:1.1'"),
        (("@5", TO_CENTS), 2, "needed TASK[@WHEN], found '@5'"),
        ((str(LOGS / "caches.jsonl"), TO_CENTS), 2, "holds 3 tasks: needed "),
        ((f"{TILL}#tell", TO_CENTS), 2, "no task 'tell' in this store; near it: till"),
        (("nowhere.jsonl", TO_CENTS), 2, "nowhere.jsonl: needed a log that"),
        ((f"{TILL}@1", TO_CENTS), 2, "found 'function:money.py::to_cents'"),
        ((f"{TILL}@2026-02-30", TO_CENTS), 2, "needed a time such as"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(
    backcast: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended, out, err = backcast("audit", *arguments)
    assert (ended, out) == (code, "")
    assert message in err.splitlines()[-1]


def test_what_a_bare_name_may_mean_is_listed_where_it_means_several(
    backcast: Command, tmp_path: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        for number, source in enumerate((b"def f(): pass", b"class f: pass"), 1):
            blob = Blob(source)
            fact = ModuleIteration(module_name="a.py", iteration=number, source=blob.ref)
            store.append("t", [fact], after=number - 1, blobs=[blob])
    code, out, err = backcast("audit", "t", "a.py::f")
    assert (code, out) == (2, "")
    assert "is 2 of them: 'class:a.py::f', 'function:a.py::f'" in err
    code, out, _ = backcast("audit", "t", "class:a.py::f")
    assert (code, out.splitlines()[1].split()[3]) == (0, "recorded")


def test_a_moment_before_the_outlines_is_refused_with_what_helps(backcast: Command) -> None:
    backcast("import", "events", str(LOGS / "caches.jsonl"))
    last = backcast("tasks")[1].split()[0]
    node = "function:validators.py::validate_email"
    code, _, err = backcast("audit", f"task-email@{last}", node)
    assert code == 2
    advised = err.rpartition("name it by its time, ")[2].strip()
    assert advised.startswith("task-email@2026-")
    assert backcast("audit", advised, node)[0] == 0
    code, _, err = backcast("stale", "task-email", "--since", last)
    option, time = err.rpartition("name it by its time, ")[2].split()
    assert (code, option) == (2, "--since")
    assert backcast("stale", "task-email", option, time)[0] == 0


def test_a_function_whose_text_is_missing_is_not_known_and_no_moment_helps(
    backcast: Command, tmp_path: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        fact = ModuleIteration(module_name="a.py", iteration=1, source=Blob(b"def f(): 0").ref)
        store.append("t", [fact], after=0)
    code, _, err = backcast("audit", "t", "function:a.py::f")
    assert (code, "found 'function:a.py::f'" in err) == (2, True)
    assert backcast("audit", "t", "a.py")[0] == 0


def test_what_stands_in_a_log_does_not_reach_the_terminal_as_it_is(
    backcast: Command, tmp_path: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        item = ContextItem(node=f"module:{ODD}", level="\x1b[31m", section="\x9b", found="\r")
        facts = [ModuleIteration(module_name=ODD, iteration=1), ContextBuilt(items=(item,))]
        claims = [Claim(fact, NOON, "\x1b]0;eve\x07") for fact in facts]
        store.append("t", claims, after=0)
    code, out, err = backcast("audit", "t", ODD)
    assert (code, err) == (0, "")
    typo = backcast("audit", "t", f"{ODD}x")[2]
    for told in (out, typo):
        assert [c for c in told if not c.isprintable() and c != "\n"] == []
    assert len(typo.splitlines()) == 1
    assert out.count("\n") == 5
