"""Whether recorded prompts hold: same, different, or what is missing so that it cannot be told."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.events import TaskComplete, TaskStarted
from backcast.domain.moment import NOW
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.open_logs import opened
from backcast.engine.memory.import_log import run
from backcast.engine.replay.bisect import with_event
from backcast.engine.replay.late_tasks import without_late_tasks
from backcast.engine.replay.steps import steps
from backcast.engine.replay.verify import Verdict, verified
from tests.sources import Task

LOGS = Path(__file__).parents[1] / "fixtures/logs"
Line = dict[str, Any]


@pytest.fixture
def lines() -> list[Line]:
    """The log of a recorded run, line by line."""
    return [json.loads(line) for line in (LOGS / "validators.jsonl").read_text().splitlines()]


@pytest.fixture
def verdicts(tmp_path: Path) -> Callable[[list[Line]], dict[int, Verdict]]:
    """What becomes of the prompts of a log, by version."""

    def of(lines: list[Line]) -> dict[int, Verdict]:
        with opened(written(tmp_path / "log.jsonl", lines)) as log:
            return {one.version: one for task in log.tasks for one in verified(log.store, task)}

    return of


def written(path: Path, lines: list[Line]) -> str:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def prompts(lines: list[Line]) -> Iterator[Line]:
    return (line for line in lines if line.get("type") == "CONTEXT_BUILT")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["verify", *arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_a_log_as_it_was_recorded_holds(lines: list[Line], verdicts: Any) -> None:
    found = verdicts(lines)
    assert len(found) == len(list(prompts(lines)))
    assert all(one.holds for one in found.values())


def test_a_text_that_is_missing_is_named(lines: list[Line], verdicts: Any) -> None:
    *_, last = prompts(lines)
    item = last["data"]["items"][0]
    found = verdicts([line for line in lines if line.get("blob") != item["text"]])
    answer = found[last["version"]].rebuilt
    assert answer.verdict == "cannot be told"
    assert answer.why.startswith(f"the text of {item['node']}: ")
    assert item["text"][:17] in answer.why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code": {"rendering": "99"}}, "it was rendered by version 99, this is 2"),
        ({"code": {"rendering": "two"}}, "it was rendered by version two, this is 2"),
        ({"template": "alpaca"}, "needed a chat template of mistral, chatml, qwen3"),
    ],
)
def test_what_a_later_version_wrote_cannot_be_told(
    lines: list[Line], verdicts: Any, change: Line, why: str
) -> None:
    *_, last = prompts(lines)
    last["data"] |= change
    answer = verdicts(lines)[last["version"]].rebuilt
    assert (answer.verdict, answer.why[: len(why)]) == ("cannot be told", why)


def test_a_tokenizer_that_counts_otherwise_is_named(lines: list[Line], verdicts: Any) -> None:
    *_, last = prompts(lines)
    last["data"]["tokenizer"] = "abacus 1"
    verdict = verdicts(lines)[last["version"]]
    assert verdict.rebuilt.verdict == "same"
    assert verdict.derived.verdict == "cannot be told"
    assert verdict.derived.why.startswith("it was counted by abacus 1, here is ")


def test_texts_that_were_masked_cannot_be_told_and_others_hold(
    lines: list[Line], verdicts: Any
) -> None:
    first, *_, last = prompts(lines)
    first["data"]["masked"] = 0
    last["data"] |= {"masked": 2, "digest": "0" * 64}
    found = verdicts(lines)
    assert found[first["version"]].holds
    assert str(found[last["version"]].rebuilt).startswith("cannot be told: masked texts in it: 2")


def test_texts_that_were_exchanged_are_told_to_be_different(
    lines: list[Line], verdicts: Any
) -> None:
    *_, last = prompts(lines)
    one, other, *_ = last["data"]["items"]
    one["text"], other["text"] = other["text"], one["text"]
    verdict = verdicts(lines)[last["version"]]
    assert verdict.rebuilt.verdict == "different"
    assert verdict.derived.verdict == "same"


def test_a_source_that_was_altered_is_found_by_section_item_token_and_event(
    lines: list[Line], tmp_path: Path
) -> None:
    *_, last = prompts(lines)
    made = [line for line in lines if line.get("type") == "MODULE_ITERATION"]
    altered = next(one for one in made if one["data"]["module_name"] == "constants.py")
    own = next(one for one in made if one["data"]["module_name"] == "validators.py")
    altered["data"]["source"] = own["data"]["source"]
    with opened(written(tmp_path / "log.jsonl", lines)) as log:
        [task] = log.tasks
        found = {one.version: one for one in verified(log.store, task)}
        verdict = with_event(log.store, found[last["version"]])
    assert verdict.rebuilt.verdict == "same"
    difference = verdict.derived.difference
    assert difference is not None
    assert (difference.section, difference.node) == ("dependencies", "module:constants.py")
    assert difference.recorded != difference.derived
    assert difference.token > 0
    assert (
        verdict.derived.event == f"since event {altered['version']}, MODULE_ITERATION constants.py"
    )


def test_another_builder_under_the_same_version_is_found(
    lines: list[Line], verdicts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ContextBuilder.build

    def fewer(self: ContextBuilder, *told: Any) -> Context:
        context = build(self, *told)
        return context._replace(items=context.items[1:], digest="0" * 64)

    monkeypatch.setattr(ContextBuilder, "build", fewer)
    found = verdicts(lines).values()
    assert {one.rebuilt.verdict for one in found} == {"same"}
    assert {one.derived.verdict for one in found} == {"different"}
    assert all(one.derived.difference.derived == "out" for one in found)


def test_two_tasks_in_one_log_are_told_apart(lines: list[Line], verdicts: Any) -> None:
    def other(line: Line) -> Line:
        return line | ({"task_id": "twin"} if "task_id" in line else {})

    both = [one for line in lines for one in ((line, other(line)) if "type" in line else (line,))]
    assert len(both) > len(lines)
    assert all(one.holds for one in verdicts(both).values())


# The command


def test_every_fixture_is_rebuilt(capsys: pytest.CaptureFixture[str]) -> None:
    logs = [str(path) for path in sorted(LOGS.glob("*.jsonl"))]
    code, out, err = told(capsys, *logs, "--only", "rebuilt")
    assert code == 0, err
    assert len(out.splitlines()) > 40


def test_what_an_older_builder_chose_is_told_by_item_and_version() -> None:
    with opened(str(LOGS / "till-builder-3.jsonl")) as log:
        found = list(verified(log.store, "till"))
    assert {one.rebuilt.verdict for one in found} == {"same"}
    differing = [one.derived for one in found if one.derived.verdict == "different"]
    assert {one.why.split(",")[0] for one in differing} == {"builder 3 -> 4"}
    # It held every module's written summary for stale.
    assert {one.difference.node.partition(":")[0] for one in differing if one.difference} == {
        "module"
    }
    assert 0 < len(differing) < len(found)


def test_a_log_cut_in_mid_line_is_told_up_to_there(
    lines: list[Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(written(tmp_path / "cut.jsonl", lines))
    path.write_bytes(path.read_bytes()[:-40])
    code, out, err = told(capsys, str(path))
    assert code == 1
    assert f"skipped {path}: line {len(lines)}: not JSON" in err
    assert len(out.splitlines()) == len(list(prompts(lines)))
    assert "0 failed" in err


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE events SET body=x'00'", "event {n} (task 'validators'): its bytes are not those"),
        ("DELETE FROM events", "task 'validators': lacks 1 of its {last} events"),
    ],
)
@pytest.mark.parametrize("whose", [[], ["validators"]])
def test_a_store_with_a_damaged_event_is_not_whole_wherever_that_stands(
    change: str, problem: str, whose: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with EventStore.open(url) as store:
        run(store, "events", LOGS / "validators.jsonl")
        asked = store.version("validators")
        # No prompt is asked after these.
        store.append("validators", [TaskComplete(), TaskComplete()], after=asked)
    arguments = ["--store", url, *whose]
    assert told(capsys, *arguments)[::2] == (0, "5 prompts, 0 failed\n")
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(f"{change} WHERE position={asked + 1}")
        raw.commit()
    code, out, err = told(capsys, *arguments)
    named, count = err.splitlines()
    assert named.startswith(f"backcast: skipped {problem.format(n=asked + 1, last=asked + 2)}")
    sums = "5 prompts, 0 failed; 1 of 1 logs is not whole"
    assert (code, len(out.splitlines()), count) == (1, 5, sums)


def test_logs_that_cannot_be_read_are_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "text.jsonl").write_text("no JSON\n")
    odd = [str(tmp_path / name) for name in ("empty.jsonl", "text.jsonl", "none.jsonl")]
    code, out, err = told(capsys, *odd, str(LOGS / "validators.jsonl"))
    assert code == 2
    assert len(out.splitlines()) == 5
    assert [line.split(": ")[1] for line in err.splitlines()[:3]] == odd
    assert err.splitlines()[3] == "5 prompts, 0 failed"


def test_a_log_of_unknown_kinds_holds_as_before(
    lines: list[Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, last = lines[-1]["task_id"], lines[-1]
    later = last | {"type": "HAIR_CUT", "version": last["version"] + 1, "data": {"inches": 2}}
    code, out, _ = told(capsys, written(tmp_path / "log.jsonl", [*lines, later]), "--json")
    assert code == 0
    *found, sums = [json.loads(line) for line in out.splitlines()]
    assert {one["task_id"] for one in found} == {task}
    [odd] = sums["logs"]["unknown_types"].values()
    assert (odd, sums["exit_code"]) == ({"HAIR_CUT": 1}, 0)
    assert all(one["rebuilt"]["verdict"] == one["derived"]["verdict"] == "same" for one in found)


def test_prompts_without_a_digest_are_not_asked(lines: list[Line], verdicts: Any) -> None:
    first, *rest = prompts(lines)
    del first["data"]["digest"]
    assert len(verdicts(lines)) == len(rest)


@pytest.mark.parametrize("builder", [1, 2, 3])
def test_a_log_of_every_builder_so_far_is_rebuilt(builder: int) -> None:
    with opened(str(LOGS / f"contexts-builder-{builder}.jsonl")) as log:
        [task] = log.tasks
        found = list(verified(log.store, task))
    assert len(found) >= 3
    assert {one.rebuilt.verdict for one in found} == {"same"}
    assert all(f"builder {builder} -> 4" in one.derived.why
               for one in found if one.derived.verdict == "different")  # fmt: skip


def test_what_ended_after_a_task_stood_still_is_not_in_its_record() -> None:
    task = Task("one")
    other = Task("two", task.store)
    task.happened(TaskStarted(goal="Weigh a letter"))
    task.wrote("a.py", "def weigh(letter):\n    return 20\n")
    task.outlined()
    other.happened(TaskStarted(goal="Weigh a letter"))
    other.wrote("a.py", "def weigh(letter):\n    return 30\n")
    other.happened(TaskComplete())
    profile = PROFILES["qwen3-8b-32k"]._replace(tokenizer="upper-bound")
    record_context(task.store, task.id, NOW, Request("module:a.py", "weigh a letter"), profile)
    [verdict] = verified(task.store, task.id)
    assert verdict.holds


@pytest.mark.parametrize("command", [("verify", "till"), ("diff", "till@73", "till@79")])
def test_what_a_store_held_before_a_run_came_into_it_changes_nothing_about_it(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        run(store, "events", LOGS / "validators.jsonl")
        run(store, "events", LOGS / "till.jsonl")
        with opened(str(LOGS / "till.jsonl")) as log:
            alone = list(verified(log.store, "till"))
        assert all(one.holds for one in alone)
        assert list(verified(store, "till")) == alone
    printed = []
    for where in (f"sqlite:///{tmp_path / 'runs.db'}", f"{LOGS / 'till.jsonl'}"):
        addresses = [one.replace("till", where, 1) if where.endswith(".jsonl") else one
                     for one in command[1:]]  # fmt: skip
        with suppress(SystemExit):
            main([command[0], *addresses, *(["--store", where] if "sqlite" in where else [])])
        out = capsys.readouterr().out.split("made so by")[0]
        printed.append(out)
    assert printed[0] == printed[1] != ""


def test_what_an_imported_prompt_shows_of_another_task_it_knew(tmp_path: Path) -> None:
    with EventStore.open(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        run(store, "events", LOGS / "validators.jsonl")
        run(store, "events", LOGS / "till.jsonl")
        prompt = next(one for one in steps(store, "till") if one.version == 25)
        assert prompt.built
        assert "validators" in prompt.known.states.offline.complete
        known = without_late_tasks(store, prompt, prompt.built)
        assert known
        assert not known.offline.complete
        item = prompt.built.items[0].model_copy(update={"task": "validators"})
        shows = prompt.built.model_copy(update={"items": (item,)})
        assert without_late_tasks(store, prompt, shows) is None
