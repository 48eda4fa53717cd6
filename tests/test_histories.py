"""An agent's earlier messages, masked, offloaded, dropped or compacted by pure functions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backcast.domain.action_evidence import ActionEvidence, evidence_in, shown_in
from backcast.domain.file_reads import file_read, file_write
from backcast.domain.histories import (
    ShownHistory,
    compacted,
    latest_reads,
    latest_turns,
    masked,
    offloaded,
    shaped,
)
from backcast.domain.message_parts import CALL, MESSAGE, RESULT, FileRead, MessagePart, total
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.message_policies import MESSAGE_POLICIES, message_policy

SHA = "blob:" + "0123456789abcdef" * 4


def count(text: str) -> int:
    return len(text) // 4 + 1


def part(role: str, kind: str, text: str, turn: int, **fields: Any) -> MessagePart:
    return MessagePart(role, kind, text, count(text), turn)._replace(**fields)


def turn(number: int, result: str, **fields: Any) -> list[MessagePart]:
    """Return an answer, its call and its result."""
    key = f"c{number}"
    return [
        part("assistant", MESSAGE, f"Now I look at step {number}.", number),
        part("assistant", CALL, f"bash\ncommand: step {number}", number, tool="bash", call=key),
        part("tool", RESULT, result, number, tool="bash", call=key, ref=SHA,
             arguments=f"step {number}")._replace(**fields),
    ]  # fmt: skip


HEAD = [part("system", "system", "You mend programs.", 0), part("user", MESSAGE, "Mend it.", 0)]


def run(turns: int, words: int = 100) -> list[MessagePart]:
    body = [
        one for number in range(1, turns + 1) for one in turn(number, f"line {number}\n" * words)
    ]
    return [*HEAD, *body]


def states(parts: tuple[MessagePart, ...]) -> dict[int, str]:
    return {one.turn: one.state for one in parts if one.kind == RESULT}


def test_masking_leaves_the_last_turns_and_all_that_the_model_said() -> None:
    parts = run(5)
    shown = masked(parts, 2, 1, count)
    assert states(shown) == {1: "masked", 2: "masked", 3: "masked", 4: "", 5: ""}
    assert [one for one in shown if one.kind != RESULT] == [
        one for one in parts if one.kind != RESULT
    ]
    line = next(one for one in shown if one.kind == RESULT)
    assert line.text == (
        f"[result of bash step 1: {parts[4].tokens} tokens, masked; blob:0123456789ab]"
    )
    assert line.tokens == count(line.text)


def test_a_result_that_is_shorter_than_its_line_stays() -> None:
    parts = [*HEAD, *turn(1, "ok"), *turn(2, "ok")]
    assert masked(parts, 1, 1, count) == tuple(parts)


def test_a_step_of_several_turns_moves_the_border_at_once() -> None:
    borders = [
        max((turn for turn, state in states(masked(run(length), 2, 3, count)).items() if state),
            default=0)
        for length in range(1, 10)
    ]  # fmt: skip
    assert borders == [0, 0, 0, 0, 3, 3, 3, 6, 6]


def test_several_results_of_one_turn_are_masked_together() -> None:
    first = turn(1, "a\n" * 100)
    second = part("tool", RESULT, "b\n" * 100, 1, tool="grep", call="other")
    lost = part("tool", RESULT, "c\n" * 100, 1)  # without a call
    shown = masked([*HEAD, *first, second, lost, *turn(2, "d\n" * 100)], 1, 1, count)
    texts = [one.text for one in shown if one.kind == RESULT]
    assert texts[1].startswith("[result of grep: ")
    assert "blob:" not in texts[1]  # its text is in no blob
    assert texts[2].startswith("[result of a tool: ")


def test_offloading_shows_errors_the_first_and_the_last_lines_within_its_tokens() -> None:
    lines = [f"collected {number}" for number in range(300)]
    lines[150] = "E   TillError: the till is empty"
    parts = [*HEAD, *turn(1, "\n".join(lines), failed=True), *turn(2, "short")]
    shown = offloaded(parts, 500, 120, count)
    preview = next(one for one in shown if one.kind == RESULT)
    assert preview.state == "offloaded"
    assert preview.tokens == count(preview.text) <= 120
    body = preview.text.splitlines()
    assert body[0].endswith(
        "in 300 lines, failed, offloaded; 'backcast cat blob:0123456789ab' prints it whole]"
    )
    assert body[1:3] == ["[errors in it]", "E   TillError: the till is empty"]
    assert body[4] == "collected 0"
    assert body[-1] == "collected 299"
    assert shown[-1] == parts[-1]


def test_a_result_without_a_blob_cannot_be_offloaded() -> None:
    parts = [*HEAD, *turn(1, "word\n" * 4000, ref="")]
    assert offloaded(parts, 500, 120, count) == tuple(parts)


def test_a_preview_of_one_endless_line_fits() -> None:
    [shown] = offloaded([turn(1, "x" * 100_000)[2]], 500, 120, count)
    assert shown.tokens <= 120


READ = FileRead("till.py")


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        (READ, READ, True),
        (FileRead("till.py", 10, 20), READ, True),
        (READ, FileRead("till.py", 10, 20), False),
        (FileRead("till.py", 10, 20), FileRead("till.py", 5, 20), True),
        (FileRead("till.py", 10, 20), FileRead("till.py", 15, 30), False),
        (FileRead("till.py", 10, 20), FileRead("till.py", 5), True),
        (FileRead("till.py", 10), FileRead("till.py", 5, 20), False),
        (
            FileRead("till.py", exact="head till.py"),
            FileRead("till.py", exact="head till.py"),
            True,
        ),
        (
            FileRead("till.py", exact="head till.py"),
            FileRead("till.py", exact="tail till.py"),
            False,
        ),
        (FileRead("till.py", exact="head till.py"), READ, True),
        (READ, FileRead("till.py", exact="head till.py"), False),
        (READ, FileRead("money.py"), False),
    ],
)
def test_a_read_is_dropped_where_a_later_one_shows_all_of_it(
    earlier: FileRead, later: FileRead, covered: bool
) -> None:
    parts = [*turn(1, "a\n" * 200, reads=earlier), *turn(2, "b\n" * 200, reads=later)]
    shown = latest_reads(parts, count)
    assert bool(states(shown)[1]) is covered
    assert states(shown)[2] == ""


def test_a_read_that_failed_takes_the_place_of_none() -> None:
    parts = [*turn(1, "a\n" * 200, reads=READ), *turn(2, "no", reads=READ, failed=True)]
    assert latest_reads(parts, count) == tuple(parts)


def test_a_change_ends_an_earlier_read_where_its_text_is_known() -> None:
    now = "blob:" + "fedcba9876543210" * 4
    read = turn(1, "a\n" * 200, reads=READ)
    unknown = turn(2, "done", writes="till.py")
    assert latest_reads([*read, *unknown], count) == (*read, *unknown)
    known = turn(2, "done", writes="till.py", leaves=now)
    [shown] = [one for one in latest_reads([*read, *known], count) if one.state]
    assert "superseded by a change of the file, which is blob:fedcba987654 now;" in shown.text
    whole = turn(2, "done", writes="till.py", whole=True)
    assert states(latest_reads([*read, *whole], count))[1] == "superseded"


def test_only_the_last_turns_stay_behind_what_was_said_first() -> None:
    assert {one.turn for one in latest_turns(run(5), 2)} == {0, 4, 5}


COMPACT = MessageSettings(compact_at=900, compact_to=300, compact_keep=2)


def test_a_summary_stands_until_the_prompt_is_too_large_again() -> None:
    point, points = 0, []
    before: tuple[MessagePart, ...] = ()
    for length in range(1, 13):
        history = shaped(run(length, 40), COMPACT, count, point)
        if history.compacted == point and before:
            assert history.parts[: len(before)] == before  # nothing before it was changed
        point, before = history.compacted, history.parts
        points.append(point)
        assert total(history.parts) <= 900
    assert points == sorted(points)
    assert 1 < len(set(points)) < 8


def test_a_summary_tells_goal_files_errors_and_what_was_done() -> None:
    parts = [
        *HEAD,
        *turn(1, "a\n" * 400, reads=READ),
        *turn(2, "E   TillError: empty\n" + "b\n" * 400, failed=True),
        part("user", MESSAGE, "Keep the old tests.", 2),
        *turn(3, "c\n" * 400, writes="till.py"),
        *turn(4, "d\n" * 400), *turn(5, "e\n" * 400),
    ]  # fmt: skip
    shown = shaped(parts, COMPACT, count).parts
    [summary] = [one for one in shown if one.kind == "summary"]
    assert summary.tokens <= 300
    lines = summary.text.splitlines()
    assert lines[1:6] == [
        "Goal: Mend it.",
        "Said in turn 2: Keep the old tests.",
        "Files changed: till.py",
        "Files read: till.py",
        "Error in turn 2: E TillError: empty",
    ]
    assert lines[6] == "What was done:"
    assert lines[8].startswith("2. Now I look at step 2.; bash (failed, E TillError: empty, blob:")
    assert {one.turn for one in shown if one.kind != "summary"} == {0, 4, 5}


def test_an_agent_that_began_anew_is_not_summed_up_from_where_it_was() -> None:
    assert compacted(run(2), run(2), COMPACT, count, 9).compacted == 0


@st.composite
def histories(draw: st.DrawFn) -> list[MessagePart]:
    """Draw any order of any parts, with odd fields."""
    texts = st.text(max_size=400) | st.just("word\n" * 300)
    parts = []
    number = 0
    for _ in range(draw(st.integers(0, 25))):
        number += draw(st.integers(0, 1))
        kind = draw(st.sampled_from((RESULT, RESULT, CALL, MESSAGE, "image", "thinking")))
        parts.append(
            part(
                draw(st.sampled_from(("user", "assistant", "tool"))), kind, draw(texts), number,
                call=draw(st.sampled_from(("", "a", "b"))), ref=draw(st.sampled_from(("", SHA))),
                failed=draw(st.booleans()),
                reads=draw(st.sampled_from((None, READ, FileRead("till.py", 1, 5)))),
                writes=draw(st.sampled_from(("", "till.py"))),
                leaves=draw(st.sampled_from(("", SHA))),
            )
        )  # fmt: skip
    return parts


@given(histories(), st.sampled_from(sorted(MESSAGE_POLICIES)))
def test_no_policy_makes_a_prompt_longer_or_touches_what_was_said(
    parts: list[MessagePart], name: str
) -> None:
    settings = MESSAGE_POLICIES[name].messages
    found = shaped(parts, settings, count)
    assert total(found.parts) <= total(parts)
    assert found == shaped(parts, settings, count)
    kept = [one for one in found.parts if one.kind not in (RESULT, "summary")]
    said = [one for one in parts if one.kind != RESULT]
    assert [one for one in said if one in kept] == kept
    if settings.compact_at is None and settings.last_turns is None:
        assert len(found.parts) == len(parts)
        assert kept == said


@given(histories())
def test_settings_that_change_nothing_change_nothing(parts: list[MessagePart]) -> None:
    assert shaped(parts, MessageSettings(), count) == ShownHistory(tuple(parts))


def test_a_policy_that_changes_no_message_keeps_nothing_of_them() -> None:
    assert b'"messages"' not in DEFAULT.body
    other = Policy(name="reader", messages=MessageSettings(mask_after=3))
    assert other.digest != Policy(name="reader").digest
    assert Policy.model_validate_json(other.body) == other


def test_families_take_any_number() -> None:
    assert message_policy("mask-7").messages == MessageSettings(mask_after=7)  # type: ignore[union-attr]
    assert message_policy("offload-900").messages.offload_over == 900  # type: ignore[union-attr]
    assert [message_policy(name) for name in ("mask-0", "mask--1", "mask-", "masks-3")] == [
        None
    ] * 4
    with pytest.raises(ValidationError, match="needed more than the 300 tokens of a preview"):
        message_policy("offload-300")


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"mask_after": 0}, "greater than or equal to 1"),
        ({"mask_after": -3}, "greater than or equal to 1"),
        ({"offload_over": 100, "preview": 200}, "needed more than the 200 tokens of a preview"),
        ({"compact_at": 500}, "needed more than the 1000 tokens of a summary"),
        ({"mask_step": 0}, "greater than or equal to 1"),
        ({"masked": 1}, "Extra inputs"),
    ],
)
def test_settings_out_of_reach_are_refused(fields: dict[str, int], needed: str) -> None:
    with pytest.raises(ValidationError, match=needed):
        MessageSettings.model_validate(fields)


@pytest.mark.parametrize(
    ("tool", "arguments", "read"),
    [
        ("Read", {"file_path": "a.py", "offset": 5, "limit": 10}, FileRead("a.py", 5, 14)),
        ("view", {"path": "./a.py", "view_range": [3, -1]}, FileRead("a.py", 3)),
        ("file_editor", {"command": "view", "path": "a.py"}, FileRead("a.py")),
        ("file_editor", {"command": "str_replace", "path": "a.py"}, None),
        ("str_replace_editor", {"command": "str_replace_editor view /a.py"}, FileRead("/a.py")),
        ("str_replace_editor", {"command": "str_replace_editor view /a.py --view_range 4 9"},
         FileRead("/a.py", 4, 9)),
        ("str_replace_editor", {"command": "str_replace_editor view /a.py --view_range 4 -1"},
         FileRead("/a.py", 4)),
        ("str_replace_editor", {"command": "str_replace_editor view /a.py --view_range 4 x"}, None),
        ("str_replace_editor", {"command": "str_replace_editor insert /a.py 3"}, None),
        ("read_files", {"files": [{"path": "a.py", "start_line": 2, "end_line": 4}]},
         FileRead("a.py", 2, 4)),
        ("read_files", {"files": [{"path": "a.py"}, {"path": "b.py"}]}, None),
        ("bash", {"command": "cd /x && cat a.py"}, FileRead("/x/a.py")),
        ("bash", {"command": "nl -ba a.py | sed -n '10,20p'"}, FileRead("a.py", 10, 20)),
        ("bash", {"command": "cat a.py > b.py"}, None),
        ("bash", {"command": "cat a.py b.py"}, None),
        ("bash", {"command": "cat 'a"}, None),
        ("open", {"command": 'open "a.py" 30'}, FileRead("a.py", exact='open "a.py" 30')),
        ("bash", {"command": ["cat", "a.py"]}, None),
        ("bash", None, None),
    ],
)  # fmt: skip
def test_reads_are_known_by_their_calls(
    tool: str, arguments: object, read: FileRead | None
) -> None:
    assert file_read(tool, arguments) == read


def test_writes_are_known_by_their_calls() -> None:
    assert file_write("Edit", {"file_path": "a.py"}) == ("a.py", False)
    assert file_write("str_replace_editor", {"command": "create", "path": "a.py"}) == ("a.py", True)
    assert file_write("file_editor", {"command": "view", "path": "a.py"}) is None
    typed = "str_replace_editor create /a.py --file_text 'x = 1\ny = 2\n'"
    assert file_write("str_replace_editor", {"command": typed}) == ("/a.py", True)
    typed = "str_replace_editor str_replace /a.py --old_str 'x' --new_str 'y'"
    assert file_write("str_replace_editor", {"command": typed}) == ("/a.py", False)
    typed = "str_replace_editor view /a.py"
    assert file_write("str_replace_editor", {"command": typed}) is None
    assert file_write("bash", {"command": "rm a.py"}) is None


def test_evidence_is_code_and_places_not_words() -> None:
    action = (
        "I mend the total of the basket in shop/till.py, as KeyError and and/or say.\n"
        "sed\ncommand: sed -i 's/total_of(cart)/total_of(basket)/' ./shop/till.py && print(x)\n"
        "self.checkOut(now)\n    return [cents // people for _ in range(people)]\n"
    )
    found = evidence_in(action)
    assert {str(one) for one in found if one.kind != "line"} == {
        "path shop/till.py", "error KeyError", "symbol total_of", "symbol checkOut",
    }  # fmt: skip
    assert ActionEvidence("line", "return [cents // people for _ in range(people)]") in found


def test_a_text_shows_the_end_of_a_path_and_a_numbered_line() -> None:
    shown = shown_in("/testbed/shop/till.py:12: error\n   12\treturn [cents // people for x]\n")
    assert shown.shows(ActionEvidence("path", "shop/till.py"))
    assert not shown.shows(ActionEvidence("path", "hop/till.py"))
    assert shown.shows(ActionEvidence("line", "return [cents // people for x]"))
    assert not shown.shows(ActionEvidence("symbol", "cent"))
