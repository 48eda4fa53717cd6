"""Long texts are cut by records: commits, findings, functions and failures keep what names them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.compression import extracted
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import Policy
from backcast.domain.text_records import records_of
from backcast.domain.text_request import TextRequest, request_of

NOTHING = TextRequest()
ASKED = request_of("Which lints of shop/till.py must be mended first?")


def count(text: str) -> int:
    return len(text) // 4 + 1


def finding(path: str, number: int, rule: str = "PLR2004") -> str:
    return (
        f"{rule} Magic value used in comparison {number}\n  --> {path}:{number}:5\n   |\n"
        f"{number} |     if coins_{number} > {number}:\n   |        ^^^^^^\n   |\n\n"
    )


def commit(number: int, path: str = "docs/faq.md") -> str:
    return (
        f"commit {number:040x}\nAuthor: A. B. <a@b.example>\nDate:   day {number}\n\n"
        f"    Change number {number} of many\n\n {path} | {number} ++--\n"
        f" 1 file changed, {number} insertions(+)\n\n"
    )


def test_findings_of_what_is_asked_for_stay_whole_and_the_others_are_counted() -> None:
    others = [finding(f"shop/part_{n % 5}.py", n + 100, ("E501", "F401")[n % 2]) for n in range(60)]
    own = [finding("shop/till.py", n) for n in (7, 8, 9)]
    text = "".join([*others[:30], *own, *others[30:], "Found 63 errors.\n"])
    found = extracted(text, ASKED, 500, count)
    assert all(whole.strip() in found.text for whole in own)
    assert "Found 63 errors." in found.text
    shown = found.text.count("--> shop/part_")
    head = found.text.split("\n")[1]
    assert head.startswith(f"[left out: {60 - shown} findings; by file: shop/part_")
    assert "; by rule: " in head
    assert shown < 20
    assert found.tokens <= 500
    for line in found.text.split("\n"):  # the others go as a whole or not at all
        if "--> shop/part_" in line:
            number = line.split(":")[-2]
            assert f"comparison {number}\n" in found.text
            assert f"if coins_{number} > {number}:" in found.text


def test_where_a_request_names_nothing_all_that_failed_stays() -> None:
    findings = [finding(f"shop/part_{n}.py", n + 100) for n in range(40)]
    found = extracted("".join(findings), request_of("Which lints are worst?"), 300, count)
    assert all(f"--> shop/part_{n}.py" in found.text for n in range(40))
    assert found.protected > found.target


def test_findings_elsewhere_are_counted_where_a_linter_found_nothing_in_what_is_asked_for() -> None:
    findings = [finding(f"shop/part_{n}.py", n + 100) for n in range(40)]
    text = "".join([*findings, "Found 40 errors.\n"])
    found = extracted(text, request_of("Is shop/other.py clean?"), 300, count)
    assert found.protected <= found.target
    shown = found.text.count("--> shop/part_")
    assert f"[left out: {40 - shown} findings; by file: " in found.text
    assert "Found 40 errors." in found.text


def test_failures_that_a_request_does_not_touch_are_ranked_and_counted() -> None:
    def failure(name: str, call: str) -> str:
        return (
            f"_________ test_{name} _________\n\n    def test_{name}():\n>       {call}(1)\n"
            f"E       ValueError: no {name}\n\ntests/test_{name}.py:3: ValueError\n"
        )

    text = "".join(failure(f"other_{n}", f"work_{n}") for n in range(80))
    text += failure("take", "take_coin") + "FAILED tests/test_take.py::test_take - ValueError\n"
    text += "== 81 failed, 3 passed in 1.00s ==\n"
    found = extracted(text, request_of("Mend take_coin"), 300, count)
    assert failure("take", "take_coin").strip() in found.text
    assert "FAILED tests/test_take.py::test_take" in found.text
    assert "81 failed, 3 passed" in found.text
    assert " failures; by file: tests/test_other_" in found.text
    assert found.tokens <= 300
    everything = extracted(text, request_of("Mend it"), 300, count)
    assert everything.text.count("E       ValueError") == 81


@given(
    st.lists(st.sampled_from(["docs/faq.md", "shop/till.py", "shop/tax.py"]), min_size=9),
    st.integers(60, 900),
    st.sampled_from(["Which commits changed shop/till.py last?", "What was changed?"]),
)
def test_no_line_of_a_commit_is_shown_below_the_hash_of_another(
    paths: list[str], target: int, asked: str
) -> None:
    text = "".join(commit(number, path) for number, path in enumerate(paths, 1))
    shown = extracted(text, request_of(asked), target, count).text
    at = ""
    for line in shown.split("\n"):
        if line.startswith("commit "):
            at = str(int(line.split()[1], 16))
        elif "Change number" in line:
            assert line.split()[2] == at
        elif line.startswith(("Date:", " shop", " docs")):
            assert f" {at}" in line
    for number in range(1, len(paths) + 1):
        hashed = f"commit {number:040x}\n" in f"{shown}\n"
        assert hashed == (f"Change number {number} of" in shown)


def test_commits_that_changed_what_is_asked_for_are_shown_the_first_ones_first() -> None:
    text = "".join(
        commit(number, "shop/till.py" if number % 20 == 5 else "docs/faq.md")
        for number in range(1, 200)
    )
    shown = extracted(text, request_of("Which commits changed shop/till.py last?"), 500, count).text
    assert commit(5, "shop/till.py").strip() in shown
    assert commit(25, "shop/till.py").strip() in shown
    assert "[left out: " in shown
    assert " commits]" in shown


def test_a_line_of_a_function_brings_its_head_and_a_head_alone_says_so() -> None:
    def body(n: int) -> str:
        return "".join(f"    step_{n}_{m} = made_of(part_{n}_{m})\n" for m in range(40))

    code = "".join(f"def work_{n}(till):\n{body(n)}\n" for n in range(12))
    found = extracted(code, request_of("what is made of part_5_30"), 400, count)
    assert "step_5_30 = " in found.text
    assert found.text.index("def work_5(till):") < found.text.index("step_5_30 = ")
    at = ""
    for line in found.text.split("\n"):
        if line.startswith("def "):
            at = line.split("(")[0].rpartition("_")[2]
        elif line.startswith("    step_"):
            assert line.split("_")[1] == at
    assert "\n[… 41 lines]\ndef work_" in found.text


def test_what_repeats_is_told_by_the_name_of_the_first_and_a_marker_keeps_its_line() -> None:
    body = "".join(f"        {word} = changed({word})\n" for word in "abcdefghij")
    failures = "".join(
        f"_________ test_take[{n}] _________\n\nvalue = {n}\n\n    def take_coin(value):\n{body}"
        f">       raise TillError(value)\n        ^^^^^^^^^^^^^^^^\nE       TillError: {n} coins\n"
        f"\ntill.py:12: TillError\n"
        for n in range(6)
    )
    found = extracted(failures, request_of("Why does take_coin fail?"), 420, count)
    assert found.text.count(body) == 1
    assert "as in test_take[0]" in found.text
    assert all(f"E       TillError: {n} coins" in found.text for n in range(6))
    lines = found.text.split("\n")
    for above, line in pairwise(lines):
        assert "^^^" not in line or above.startswith(">       raise")


def test_a_search_shows_who_imports_what_is_asked_for() -> None:
    own = "".join(f"./shop/till.py:{n}:from .part_{n} import Part{n}\n" for n in range(1, 90))
    users = "".join(
        f"./shop/user_{n}.py:{n}:from {'.till' if n % 2 else 'shop.till'} import Till\n"
        for n in range(1, 9)
    )
    other = "".join(f"./docs/page_{n}.py:{n}:from other.sill import Sill\n" for n in range(90))
    asked = request_of("Which modules import shop/till.py?")
    shown = extracted(own + other + users + other, asked, 400, count).text
    assert all(f"./shop/user_{n}.py:{n}:from" in shown for n in range(1, 9))


def test_where_a_tool_left_something_out_itself_stays_visible() -> None:
    lines = "".join(f"coin {n} of drawer_{n % 9} is worn\n" for n in range(400))
    hole = "</output_head>\n<elided_chars>\n727 characters elided\n</elided_chars>\n<output_tail>\n"
    shown = extracted(lines + hole + lines, NOTHING, 200, count).text
    assert all(line in shown for line in hole.splitlines())


def test_nothing_is_cut_below_some_times_the_target() -> None:
    settings = CompressionSettings(target=1_000, over=1_000)
    assert settings.goal(1_500) is None
    assert settings.goal(1_501) is not None
    assert CompressionSettings(target=1_000, over=1_000, least=1).goal(1_001) is not None
    assert CompressionSettings(target=0, over=100).goal(101) is not None


@pytest.mark.parametrize("table", ["compression", "messages"])
def test_policies_from_before_that_setting_keep_their_digest(table: str) -> None:
    def policy(least: float) -> Policy:
        settings = CompressionSettings(target=1_000, least=least)
        fields = {"messages": MessageSettings(compress=settings)}
        return Policy(**({"compression": settings} if table == "compression" else fields))

    assert b'"least"' not in policy(1.5).body
    assert b'"least": 3.0' in policy(3.0).body


def test_records_of_several_tools_are_known_by_their_shape() -> None:
    text = (
        'shop/till.py:3: error: Incompatible types in assignment (expression has type "str",\n'
        'variable has type "int")  [assignment]\n    total = name\n            ^~~~\n'
        "shop/till.py:3: note: see there\nstep 5 is done\n"
        "diff --git a/shop/tax.py b/shop/tax.py\n@@ -1 +1 @@\n+x = 1\n"
    )
    found = [(r.kind, r.name, r.start, r.stop) for r in records_of(text.split("\n"))]
    assert found == [
        ("finding", "assignment at shop/till.py:3", 0, 5), ("part", "shop/tax.py", 6, 9)
    ]  # fmt: skip


def test_a_method_comes_with_the_head_of_its_class_and_what_that_says_of_itself() -> None:
    def method(n: int) -> str:
        return f"    def work_{n}(self):\n        return made_of(part_{n})\n\n"

    methods = "".join(method(n) for n in range(60))
    code = f'class Till:\n    """Counts coins.\n\n    It is slow.\n    """\n\n{methods}'
    found = extracted(code, request_of("what is made of part_50"), 200, count)
    assert "return made_of(part_50)" in found.text
    head = found.text[: found.text.index("return made_of(part_50)")]
    assert 'class Till:\n    """Counts coins.' in head
    assert "def work_50(self):" in head
