"""A policy file over one of mine, and what is said of a file that is not as meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.engine.context.policies import base_of, policy_at, policy_in
from backcast.engine.replay.corpus import ReplayRun

Backcast = Callable[..., tuple[str, str, int]]


@pytest.fixture
def laid(tmp_path: Path) -> Path:
    """A file over another one, in a folder beside it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "mine.toml").write_text('base = "coverage"\nerrors = 2\n[weights]\nnamed = 3.0\n')
    path = tmp_path / "own/less.toml"
    path.write_text('base = "../mine.toml"\nname = "less"\n[weights]\ntyped = 0.0\n')
    return path


def test_a_policy_may_be_laid_over_one_of_mine(laid: Path, backcast: Backcast) -> None:
    found = policy_at(laid)
    assert (found.name, found.errors) == ("less", 2)
    assert (found.weights["named"], found.weights["typed"]) == (3.0, 0.0)
    assert base_of(str(laid)) == "coverage"
    out, _, code = backcast("policy", laid)
    assert (code, 'base = "coverage"\n' in out) == (0, True)
    Path("printed.toml").write_text(out)
    assert policy_at(Path("printed.toml")).digest == found.digest


def test_policies_laid_over_each_other_in_a_circle_are_refused(laid: Path) -> None:
    (laid.parents[1] / "mine.toml").write_text('base = "own/less.toml"\n')
    for ask in (policy_at, lambda path: base_of(str(path))):
        with pytest.raises(InputError, match="needed a file that is not laid over this one"):
            ask(laid)
    laid.write_text('base = "less.toml"\n')
    with pytest.raises(InputError, match=r"base: needed a file .*found 'less\.toml'"):
        policy_at(laid)


def test_a_base_that_is_not_there_is_named_and_a_typed_policy_reads_no_file(laid: Path) -> None:
    laid.write_text('base = "gone.toml"\n')
    with pytest.raises(InputError, match=r"gone\.toml: needed a policy file: No such file"):
        policy_at(laid)
    with pytest.raises(InputError, match=r"the policy: base: needed one of .*found 'mine\.toml'"):
        policy_in("the policy", {"base": "mine.toml"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[weights]\nnear = 1.0\n", "weights: .*found 'near'; near is of .likeness., .recall., "),
        ('[weights]\n"cited" = 1.0\n', "found 'cited'; cited is of .likeness.$"),
        ('[weights]\n"own fil" = 1.0\n', "found 'own fil'; did you mean own file"),
        ("[weigths]\nnear = 1.0\n", "found 'weigths'; did you mean weights"),
    ],
)
def test_a_weight_in_another_table_or_misspelled_is_told_of(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        policy_at(tmp_path / "mine.toml")


def test_a_policy_is_printed_by_its_bare_name(backcast: Backcast) -> None:
    assert backcast("policy", "coverage") == backcast("policy", "--policy", "coverage")
    assert backcast("policy", "coverage", "--policy", "reader")[2] == 2
    assert backcast("policy", "coverage", "--list")[2] == 2


def test_a_file_with_the_name_of_another_policy_is_told_of(backcast: Backcast) -> None:
    Path("mine.toml").write_text('name = "reader"\nerrors = 1\n')
    out, err, code = backcast("policy", "mine.toml")
    assert "note: mine.toml: has other settings than reader, whose name it has" in err
    assert (code, "errors = 1" in out) == (0, True)
    Path("same.toml").write_text('name = "reader"\n')
    assert backcast("policy", "same.toml")[1] == ""


def test_the_change_of_a_history_has_an_address_to_paste() -> None:
    run = ReplayRun("sqlite:////elsewhere/s.db", "click", 0, 3, 25)
    assert run.address(7130) == "click@7130"
    assert run._replace(log="logs/click.jsonl").address(7130) == "logs/click.jsonl#click@7130"


def test_the_hints_of_influence_can_be_pasted(
    backcast: Backcast,
) -> None:
    log = str(Path(__file__).parents[1] / "fixtures/logs/till.jsonl")
    backcast("import", "events", log, "--store", "other.db")
    command = ("influence", "till@79", "--model", "copy", "--policy", "coverage", "--most", 2,
               "--halves", 0, "--store", "other.db")  # fmt: skip
    out, err, code = backcast(*command)
    assert code == 0, err
    hints = [line for line in out.splitlines() if ": backcast " in line]
    assert hints
    for hint in hints:
        assert ": backcast blame till@79 --store sqlite:///" in hint or " context till@79 " in hint
    assert "--policy coverage" in hints[0]
