"""The commands that ask what is known: each prints what holds, and tells wrong questions."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main

LOGS = Path(__file__).parents[1] / "fixtures/logs"
SHOP = ("task-def456",)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backcast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--store", f"sqlite:///{tmp_path}/store.db"])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    for name in ("shop", "caches"):
        assert ran("import", "events", str(LOGS / f"{name}.jsonl"))[0] == 0
    return ran


def test_the_graph_is_told_to_programs_whole_or_around_a_node(backcast: Command) -> None:
    _, out, _ = backcast("show", "graph", *SHOP, "--json")
    whole = json.loads(out)
    kinds = {node["kind"] for node in whole["nodes"]}
    assert {"task", "module", "function", "class", "test", "library", "concept"} <= kinds
    assert {"id": "library:re", "kind": "library", "from": "standard"} in whole["nodes"]
    node = "function:utils.py::normalise"
    _, out, _ = backcast("show", "graph", *SHOP, "--json", "--node", node, "--hops", "1")
    around = {one["id"]: one["hops"] for one in json.loads(out)["nodes"]}
    assert around[node] == 0
    assert around["function:validators.py::validate_email"] == 1
    assert "module:constants.py" not in around


def test_the_graph_of_an_earlier_moment_has_what_was_there_then(backcast: Command) -> None:
    _, out, _ = backcast("show", "graph", "task-def456@6")
    assert "constants.py" in out
    assert "validators.py" not in out


def test_a_node_is_shown_with_both_ends_of_its_edges(backcast: Command) -> None:
    node = "function:validators.py::validate_email"
    _, out, _ = backcast("show", "graph", *SHOP, "--node", node, "--hops", "2")
    assert "function:utils.py::normalise" in out
    assert "test:test_validators.py::test_an_address_is_valid" in out
    assert "hops" in out


def test_the_working_set_and_what_tasks_left_are_shown(backcast: Command) -> None:
    _, out, _ = backcast("show", "online", "task-web")
    assert out.splitlines()[1].split()[:2] == ["CRITICAL", "task:task-web"]
    _, out, _ = backcast("show", "offline")
    assert "task-phone" in out
    assert "phonenumbers" in out
    _, out, _ = backcast("show", "offline", "--json")
    assert set(json.loads(out)["complete"]) >= {"task-email", "task-phone"}


def test_outlines_are_made_once(backcast: Command) -> None:
    # This log came without outlines.
    assert backcast("outline", "task-email")[1] == "outlined 2 texts\n"
    assert backcast("outline", "task-email")[1] == "outlined 0 texts\n"


def test_stale_tells_programs_the_proof(backcast: Command) -> None:
    code, out, err = backcast("stale", *SHOP, "--json")
    assert (code, err) == (0, "")
    proofs = [json.loads(line)["proof"] for line in out.splitlines()]
    assert [proof["since"] for proof in proofs] == [34, 34, 34]
    assert proofs[1]["way"] == ["validators.py", "utils.py"]


def test_a_moment_before_the_outlines_is_told(backcast: Command) -> None:
    backcast("import", "events", str(LOGS / "addresses.jsonl"))
    _, out, _ = backcast("log", "task-abc123", "--json")
    last = str(json.loads(out.splitlines()[-1])["version"])
    backcast("outline", "task-abc123")
    _, then, _ = backcast("show", "graph", f"task-abc123@{last}")
    _, now, _ = backcast("show", "graph", "task-abc123")
    assert "not outlined yet: utils.py, validators.py" in then
    assert "not outlined yet" not in now


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "graph", *SHOP, "--node", "odd"), 2, "needed a node of task 'task-def456'"),
        (("show", "summaries", *SHOP, "--node", "module:no.py"), 2, "needed a node of task"),
        (("stale", "none"), 2, "no task 'none'"),
        (("stale", *SHOP, "--since", "yesterday"), 2, "needed an event number, first, last, a"),
        (("cat", "storage://task-def456/utils.py#L1-L99"), 2, "the module has 11 lines"),
        (("cat", "storage://task-def456/utils.py#none"), 2, "needed #L1-L9, or a function"),
        (("cat", "storage://task-def456/none.py"), 2, "there is no such module"),
        (("cat", "storage://none/utils.py"), 2, "no task 'none'"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(
    backcast: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended, out, err = backcast(*arguments)
    assert (ended, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_reference_gives_the_text_of_its_moment(backcast: Command) -> None:
    reference = "storage://task-def456/utils.py#normalise"
    _, now, _ = backcast("cat", reference)
    _, then, _ = backcast("cat", reference, "@2026-11-20T12:04:30")
    assert "keep_case" in now
    assert then == "def normalise(text):\n    return text\n"
