"""A specification says what is wrong with it before anything is run."""

from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.maps import context_of
from backcast.engine.log import EventStore
from backcast.engine.workflow.loop import start
from backcast.engine.workflow.spec import spec_at, spec_of

SPECS = Path(__file__).parents[1] / "fixtures/specs"
TESTED = '\n[[tests]]\npath = "test_a.py"\nsource = "def test(): pass"\n'
HEAD = 'task = "t"\ngoal = "g"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "task.toml"
    path.write_text(text)
    return path


def test_the_fixtures_can_be_read_and_come_back_from_a_log() -> None:
    paths = sorted(SPECS.glob("*.toml"))
    assert paths
    for path in paths:
        spec = spec_at(path)
        assert spec.tests[0].source
        assert spec_of(spec.model_dump_json().encode()) == spec


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD, "tests: field required"),
        (HEAD + "tests = []", "needed at least one test"),
        (HEAD + 'colour = "red"' + TESTED, "colour: extra inputs are not permitted"),
        ("task = 't'" + TESTED, "goal: field required"),
        ('task = "../t"\ngoal = "g"' + TESTED, "task: string should match pattern"),
        ('task = ".."\ngoal = "g"' + TESTED, "task: string should match pattern"),
        (HEAD + TESTED.replace("def test(): pass", "def test("), "test_a.py: needed Python"),
        (HEAD + '[[tests]]\npath = "test_a.py"', "test_a.py: needed source or file, found neither"),
        (HEAD + TESTED + '[[modules]]\npath = "a.txt"', "found 'a.txt'"),
        (HEAD + TESTED + '[[modules]]\npath = "conftest.py"', "found 'conftest.py'"),
        (HEAD + TESTED + '[[modules]]\npath = "Test_a.py"', "found 'test_a.py' and 'Test_a.py'"),
        (HEAD + TESTED + '[[modules]]\npath = "a.py"\ntests = ["b.py"]', "found 'b.py'"),
        (HEAD + "[limits]\niterations = 0" + TESTED, "limits.iterations: input should be greater"),
        (HEAD + 'context = ""' + TESTED, "context: string should match pattern"),
        (HEAD + 'context = "a\\nb"' + TESTED, "context: string should match pattern"),
        (HEAD + "[checks]\nsecond = 1" + TESTED, "checks.second: extra inputs are not permitted"),
        (HEAD + 'goal = "again"' + TESTED, "needed TOML"),
        (HEAD + TESTED + TESTED, "found 'test_a.py' twice"),
        (HEAD + TESTED.replace("test_a.py", "../test_a.py"), "../test_a.py"),
        (HEAD + TESTED.replace("test_a.py", "/etc/test_a.py"), "/etc/test_a.py"),
        (HEAD + TESTED.replace('source = "def test(): pass"', 'file = "none.py"'), "none.py"),
        (HEAD + TESTED + 'file = "task.toml"', "needed source or file, found both"),
        (HEAD + "tests = 3", "needed [[tests]]"),
        (HEAD + 'tests = ["a"]', "input should be a valid dictionary"),
        (HEAD + 'summaries = "none"' + TESTED, "summaries: string should match"),
        (HEAD + TESTED + '[[modules]]\npath = "a.py"\ndependencies = ["b.py"]', "found 'b.py'"),
        (
            HEAD + TESTED + '[[modules]]\npath = "a.py"\ndependencies = ["b.py"]\n'
            '[[modules]]\npath = "b.py"\ndependencies = ["a.py"]',
            "without a cycle, found a.py -> b.py -> a.py",
        ),
        (HEAD + TESTED + '[[modules]]\npath = "types.py"', "found 'types.py': Python has a module"),
        (HEAD + TESTED + '[[modules]]\npath = "a-b.py"', "name it a_b, for instance"),
        ("\0", "needed TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_the_file(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        spec_at(path)
    told = str(caught.value)
    assert complaint in told
    assert str(tmp_path) in told


def test_a_task_records_the_context_whose_map_it_shares(tmp_path: Path) -> None:
    with EventStore.open("sqlite://") as store:
        for task in ("one", "two"):
            head = HEAD.replace('"t"', f'"{task}"') + 'context = "the shop"\n'
            start(store, spec_at(written(tmp_path, head + TESTED)))
        start(store, spec_at(written(tmp_path, HEAD + TESTED)))
        told = [event.fact.data for event in store.read(types=["TASK_STARTED"])]
        assert [one.get("context") for one in told] == ["the shop", "the shop", None]
        assert "context" not in told[-1]
        assert b'"context"' not in store.get(told[-1]["spec"])
        assert [context_of(store, lineage_of(store, task)) for task in ("one", "t")] == [
            "the shop", "t",
        ]  # fmt: skip


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="needed TOML"):
        spec_at(path)
    with pytest.raises(InputError, match="needed a specification: No such file"):
        spec_at(tmp_path / "none.toml")
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="at most 1,000,000 bytes"):
        spec_at(path)


def test_a_specification_whose_modules_all_have_a_purpose_is_the_plan(tmp_path: Path) -> None:
    module = '[[modules]]\npath = "a.py"\n'
    assert not spec_at(written(tmp_path, HEAD + TESTED)).planned
    assert not spec_at(written(tmp_path, HEAD + TESTED + module)).planned
    assert spec_at(written(tmp_path, HEAD + TESTED + module + 'purpose = "p"')).planned
