"""How the difference of two prompts reads."""

import pytest

from backcast.engine.context.prefix import Prefix
from backcast.engine.interfaces.diff_text import WIDTH, change_line, diff_text
from backcast.engine.replay.diff import Diff, ItemChange

SHARE = "function:money.py::share"
DEEP = "dependencies"


def diff(*changes: ItemChange, tokens: tuple[int, int] = (100, 121)) -> Diff:
    sections = (("related modules", 40, 40), (DEEP, 60, 81))
    return Diff("before", "after", tokens, (200, 1000), sections, changes, Prefix(70, 121, DEEP))


ADDED = ItemChange(DEEP, SHARE, "in", "", "full, 21 tokens", 21, "over budget")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (ADDED, "+ dependencies  function:money.py::share  full, 21 tokens  (over budget before)"),
        (
            ADDED._replace(why="not offered before"),
            "+ dependencies  function:money.py::share  full, 21 tokens  (not offered before)",
        ),
        (
            ItemChange(DEEP, SHARE, "out", "name, 2 tokens", "", -2, "over budget"),
            "- dependencies  function:money.py::share  name, 2 tokens  (over budget now)",
        ),
        (
            ItemChange(DEEP, SHARE, "level", "name, 2 tokens", "full, 21 tokens", 19, ""),
            "~ dependencies  function:money.py::share  name, 2 tokens -> full, 21 tokens",
        ),
        (
            ItemChange(DEEP, SHARE, "text", "full, 20 tokens", "full, 21 tokens", 1, "from added"),
            "~ dependencies  function:money.py::share  another text, full, 20 tokens ->"
            " full, 21 tokens  (from added)",
        ),
        (
            ItemChange(DEEP, SHARE, "moved", "full, 21 tokens", "full, 21 tokens", 0, ""),
            "~ dependencies  function:money.py::share  full, 21 tokens, moved",
        ),
    ],
)
def test_a_change_is_a_line(change: ItemChange, line: str) -> None:
    assert change_line(change) == line


def test_the_sections_that_changed_stand_above_their_changes() -> None:
    assert diff_text(diff(ADDED)).split("\n") == [
        "before -> after: 100 -> 121 tokens of 1,000",
        "the first 70 tokens are the same; they part in dependencies",
        "  dependencies      60 ->     81 tokens",
        "+ dependencies  function:money.py::share  full, 21 tokens  (over budget before)",
    ]


def test_no_more_changes_are_told_than_asked_for() -> None:
    lines = diff_text(diff(*[ADDED] * 9), shown=4).split("\n")
    assert sum(line.startswith("+") for line in lines) == 4
    assert lines[-1] == "... and 5 changes more"


def test_what_they_share_with_the_prompt_before_them_is_told() -> None:
    found = diff(ADDED)._replace(prefix=(Prefix(90, 100, ""), Prefix(30, 121, DEEP)))
    assert "they go on with 90 of 100 -> 30 of 121 tokens" in diff_text(found)


def test_prompts_that_are_the_same_are_said_to_be() -> None:
    found = diff(tokens=(100, 100))._replace(shared=Prefix(100, 100, ""))
    assert diff_text(found) == "before and after are the same to the byte: 100 tokens"


def test_prompts_whose_items_are_alike_are_not_said_to_be_the_same() -> None:
    assert diff_text(diff()).endswith("the text around them differs")


def test_what_a_log_says_cannot_forge_lines_or_reach_the_terminal() -> None:
    told = diff_text(diff(ADDED._replace(node="\x1b[2Jgone\n- forged" + "x" * 500)))
    assert "\\x1b[2Jgone\\n- forged" in told
    assert len(told.split("\n")) == 4
    assert max(map(len, told.split("\n"))) <= WIDTH
