"""Of a suite that failed some failures are shown with the code that failed, others in short."""

from backcast.domain.compression import extracted
from backcast.domain.histories import asked_at
from backcast.domain.line_worth import worth_of
from backcast.domain.message_parts import CALL, MESSAGE, RESULT, MessagePart
from backcast.domain.text_request import TextRequest, request_of

NOTHING = TextRequest()


def count(text: str) -> int:
    return len(text) // 4 + 1


def failed_test(name: str, steps: int, error: str) -> str:
    body = "".join(f"        {name}_{n} = made_of({name}, {n})\n" for n in range(steps))
    return (
        f"_________ test_{name} _________\n\n    def test_{name}({name}):\n{body}"
        f">       assert {name}_1 == {name}\nE       AssertionError: {error}\n\n"
        f"tests/test_{name}.py:9: AssertionError\n"
    )


def test_of_failures_the_first_are_shown_with_the_code_that_failed_and_not_all_in_crumbs() -> None:
    failures = [failed_test(f"till_{n}", 20, f"till {n} is wrong") for n in range(9)]
    passed = "".join(f"tests/test_a.py::test_{n} PASSED [ {n}%]\n" for n in range(99))
    text = passed + "".join(failures)
    found = extracted(text, request_of("Mend it"), 1_000, count)
    assert failures[0].strip() in found.text
    assert all(f"AssertionError: till {n} is wrong" in found.text for n in range(9))
    assert "PASSED" not in found.text.replace(": 99 PASSED]", "")
    whole = [n for n in range(9) if failures[n].strip() in found.text]
    assert whole == list(range(len(whole)))
    bare = sum(f"till_{n}_" not in found.text.replace(f"till_{n}_1 ==", "") for n in range(9))
    assert bare + len(whole) >= 8  # at most one is shown in part


def test_of_a_function_that_failed_the_lines_above_the_failure_are_shown_first() -> None:
    found = extracted(failed_test("coin", 50, "a coin is worn"), request_of("Mend it"), 300, count)
    assert "coin_49 = made_of(coin, 49)\n>       assert coin_1 == coin" in found.text
    assert "coin_5 = made_of(coin, 5)" not in found.text


def test_verdicts_of_failed_tests_that_a_summary_names_again_are_counted() -> None:
    listed = "".join(f"tests/test_a.py::test_a[{n} b] FAILED [ {n:2}%]\n" for n in range(60))
    summary = "".join(f"FAILED tests/test_a.py::test_a[{n} b] - TillE...\n" for n in range(60))
    total = "== 60 failed in 0.1s ==\n"
    whole = extracted(listed + summary + total, request_of("Mend it"), 100, count)
    assert "lines: 60 FAILED]" in whole.text
    assert all(f"FAILED tests/test_a.py::test_a[{n} b]" in whole.text for n in range(60))
    alone = extracted(listed + total, request_of("Mend it"), 100, count)
    assert all(f"test_a[{n} b] FAILED" in alone.text for n in range(60))


def test_who_asks_about_a_file_gets_the_failures_of_its_tests_where_none_names_it_itself() -> None:
    text = "".join(failed_test(f"till_{n}", 8, f"till {n} is wrong") for n in range(9))
    about = extracted(text, request_of("Why does shop/till_3.py fail?"), 200, count)
    assert [n for n in range(9) if f"till {n} is wrong" in about.text] == [3]
    nobody = extracted(text, request_of("Why does shop/shelf.py fail?"), 200, count)
    assert all(f"till {n} is wrong" in nobody.text for n in range(9))


def test_the_words_of_the_task_count_where_a_reminder_of_form_was_said_last() -> None:
    parts = [
        MessagePart("user", MESSAGE, "Find out what is wrong with the pear in shop/till.py."),
        MessagePart("assistant", MESSAGE, "I look.", turn=1),
        MessagePart("user", MESSAGE, "Answer with one command alone."),
        MessagePart("assistant", CALL, "cat shop/drawers.py", turn=2),
        MessagePart("tool", RESULT, "a drawer", 2, turn=2),
    ]
    asked = asked_at(parts, 4)
    assert {"pear", "command", "drawers"} <= asked.words
    assert asked.paths == {"shop/drawers.py"}
    assert "pear" in asked_at([*parts[:2], *parts[3:]], 3).words


def test_numbered_lines_of_a_file_are_read_as_its_code() -> None:
    code = ["def take(till):", "", "    if till:", "        return till", "", "class Till:"]
    numbered = [f"{number:6}\t{line}" for number, line in enumerate(code, 1)]
    assert worth_of(numbered, NOTHING).kinds == worth_of(code, NOTHING).kinds
    assert [r.name for r in worth_of(numbered, NOTHING).records] == ["take"]
    assert worth_of(["12: TillError: no coin"], NOTHING).kinds == ("error",)
