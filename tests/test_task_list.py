"""Task lists: what they say, boxes written back, and a list that somebody else has changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.doubtful_tasks import doubtful_lines
from backcast.domain.errors import InputError
from backcast.domain.task_list import BOXES, marked, merged, parse_tasks

LIST = """# Plan

- [x] 1. Read the file
  - File: reader.py
  - _Requirements: 1.1, 2_
- [-] 2. Write
  * [ ] 2.1 Its head
    what it says
  * [X] 2.2) Its tail
- [ ] without a number

```
- [ ] 9. no task
```
"""


def test_tasks_have_numbers_levels_parents_requirements_and_words() -> None:
    tasks = parse_tasks(LIST)
    assert [(one.id, one.status, one.level, one.parent, one.line) for one in tasks.tasks] == [
        ("1", "done", 0, "", 3),
        ("2", "doing", 0, "", 6),
        ("2.1", "to do", 1, "2", 7),
        ("2.2", "done", 1, "2", 9),
        ("without a number", "to do", 0, "", 10),
    ]
    assert tasks.by_id["1"].requirements == ("1.1", "2")
    assert tasks.by_id["1"].details == "  - File: reader.py\n  - _Requirements: 1.1, 2_"
    assert tasks.by_id["2.1"].details == "    what it says"
    assert tasks.counts() == {"done": 2, "doing": 1, "to do": 2}


def test_the_next_task_is_one_whose_parts_are_done() -> None:
    text = "- [ ] 1. All\n  - [x] 1.1 A\n  - [ ] 1.2 B\n- [ ] 2. More\n"
    order = []
    while task := parse_tasks(text).next():
        order.append(task.id)
        text = marked(text, {task.id: "done"})
    assert order == ["1.2", "1", "2"]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", "found no list item"),
        ("- one\n- two\n", "found 2 list items without a box"),
        ("- [ ] 1. A\n- [x] 1. B\n", "line 2: needed each task once, found '1' in line 1 too"),
        ("- [ ] A\n\n- [ ] A\n", "line 3"),
    ],
)
def test_a_list_that_cannot_be_followed_is_refused_in_one_line(text: str, needed: str) -> None:
    with pytest.raises(InputError, match=needed) as error:
        parse_tasks(text)
    assert "\n" not in str(error.value)


@given(st.sampled_from(["\n", "\r\n"]), st.dictionaries(
    st.sampled_from(["1", "2", "2.1", "2.2", "odd"]), st.sampled_from(sorted(BOXES))
))  # fmt: skip
def test_only_boxes_are_written(end: str, marks: dict[str, str]) -> None:
    text = LIST.replace("\n", end)
    after = marked(text, marks)
    assert len(after) == len(text)
    changed = [place for place, (a, b) in enumerate(zip(text, after, strict=True)) if a != b]
    assert all(text[place - 1] == "[" and text[place + 1] == "]" for place in changed)
    for task in parse_tasks(after).tasks:
        assert task.status == marks.get(task.id, parse_tasks(text).by_id[task.id].status)


def test_what_somebody_else_changed_is_kept_and_said() -> None:
    now = "New words above.\r\n- [x] 1. Read\r\n- [-] 3. Write\r\n- [ ] 4. Test\r\n"
    read = "- [ ] 1. Read\n- [ ] 2. Write\n- [ ] 5. Old\n"
    after = merged(read, now, {"2": "done", "5": "done"})
    assert after.text == now.replace("[-] 3", "[x] 3")
    assert after.lost == ("5",)
    assert after.notes == (
        "task 1 was marked done by somebody else, was to do",
        "task 2 (Write) is task 3 now",
        "task 3 was marked doing by somebody else, was to do",
        "task 5 (Old) is gone from the list",
        "task 4 (Test) is new",
        "task 3 was marked doing by somebody else, and done by us",
    )


def test_a_task_that_took_another_ones_number_is_not_marked() -> None:
    read = "- [ ] 1. Read\n- [ ] 2. Write\n"
    now = "- [ ] 1. Plan\n- [ ] 2. Read\n- [ ] 3. Write\n"
    assert merged(read, now, {"1": "done"}).text == now.replace("[ ] 2", "[x] 2")


def test_a_reworded_task_is_the_same_by_its_number() -> None:
    after = merged("- [ ] 1. Read\n", "- [ ] 1. Read all\n", {"1": "done"})
    assert after.text == "- [x] 1. Read all\n"
    assert after.notes == ("task 1 is called 'Read all' now, was 'Read'",)


@given(st.permutations(["1. A", "2. B", "3. C"]), st.sets(st.sampled_from(["1", "2", "3"])))
def test_a_merge_marks_the_same_tasks_whatever_their_order(
    names: list[str], done: set[str]
) -> None:
    read = "".join(f"- [ ] {name}\n" for name in sorted(names))
    now = "".join(f"- [ ] {name}\n" for name in names)
    after = parse_tasks(merged(read, now, dict.fromkeys(sorted(done), "done")).text)
    assert {task.id for task in after.tasks if task.status == "done"} == done


def test_what_looks_like_a_task_and_is_none_is_named_with_its_line() -> None:
    text = (
        "# Tasks\n- [ ] 1. A\n- [] 2. B\n* [x] 3. C\n- [a link](http://there)\n-[ ] 4. D\n"
        "```\n- [x 5. In code\n_Depend: 1_\n```\n  _depends: 1_\n  _Requirements: 1_\n  _Note: n_\n"
    )
    assert list(doubtful_lines(text)) == [
        "line 3: '- [] 2. B' is no task: needed '- [ ] 1.2 ...'",
        "line 6: '-[ ] 4. D' is no task: needed '- [ ] 1.2 ...'",
        "line 11: _depends: is not read: did you mean _Depends:",
    ]
    assert list(doubtful_lines("- [ ] 1. A\n  _Depends on: 2_\n- [X] 2. B\n")) == []
