"""Long texts as extracts: what stays, in which order, what is told of the rest, and bad input."""

import os
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backcast.domain.compression import CompressedText, compressed, extracted
from backcast.domain.compression_settings import CompressionSettings, KeepRule, share_of
from backcast.domain.output_lines import kinds_of
from backcast.domain.text_request import TextRequest, request_of

NOTHING = TextRequest()
SMALL = CompressionSettings(target=200, over=400, most=1.0, share=1.0)
TRACE = """Traceback (most recent call last):
  File "/srv/shop/till.py", line 12, in add
    total = self.count(item)
  File "/srv/shop/count.py", line 30, in count
    return prices[item]
KeyError: 'pear'
"""


def count(text: str) -> int:
    return len(text) // 4 + 1


def noise(lines: int, begin: str = "step") -> str:
    return "".join(
        f"{begin} {number} of {lines} is done, nothing to see\n" for number in range(lines)
    )


def short(text: str, request: TextRequest = NOTHING, name: str = "") -> CompressedText:
    return compressed(text, request, SMALL, count, name=name)


def test_a_text_within_its_limit_stays_as_it_is() -> None:
    found = short(noise(20))
    assert (found.text, found.state, found.ratio) == (noise(20), "", 1.0)


def test_errors_and_whole_traces_stay_and_are_told_in_their_order() -> None:
    text = noise(100) + TRACE + noise(100) + "ERROR: second\n" + noise(100)
    found = short(text, name="blob:0123456789ab")
    assert found.tokens <= 200
    assert TRACE in found.text
    assert found.text.index("KeyError") < found.text.index("ERROR: second")
    head = found.text.split("\n")[0]
    assert head.startswith("[compressed: ")
    assert "'backcast cat blob:0123456789ab' prints it whole" in head


def test_what_is_kept_and_dropped_are_all_lines_once() -> None:
    text = noise(150) + TRACE + noise(150)
    found = short(text)
    spans = sorted((*found.kept, *found.dropped))
    assert spans[0][0] == 1
    assert spans[-1][1] == len(text.splitlines())
    assert all(after[0] == before[1] + 1 for before, after in pairwise(spans))
    assert any(first <= 151 and last >= 156 for first, last in found.kept)


def test_the_same_trace_and_the_same_error_stay_once() -> None:
    found = short(noise(100) + TRACE + noise(50) + TRACE + noise(100))
    assert found.text.count("KeyError: 'pear'") == 1
    assert found.text.count('till.py", line 12') == 1
    assert "as above]" in found.text or "lines]" in found.text


def test_a_cause_stays_with_its_effect() -> None:
    chained = (
        f"{TRACE}\nThe above exception was the direct cause of the following exception:\n\n"
        'Traceback (most recent call last):\n  File "/srv/shop/till.py", line 14, in add\n'
        "    raise TillError(item) from error\nTillError: pear\n"
    )
    found = short(noise(200) + chained + noise(200))
    assert all(line in found.text for line in chained.splitlines() if line)
    assert (
        found.text.index("KeyError")
        < found.text.index("direct cause")
        < found.text.index("TillError: pear")
    )


def test_what_the_request_touches_stays() -> None:
    listing = "".join(f"./pkg/part_{number}/module_{number}.py\n" for number in range(400))
    request = request_of("What does pkg/part_77/module_77.py do?")
    assert "./pkg/part_77/module_77.py" in short(listing, request).text
    assert "./pkg/part_77/module_77.py" not in short(listing).text
    code = "".join(f"def work_{number}(x):\n    return x + {number}\n" for number in range(300))
    assert "def work_150(x):" in short(code, request_of("call work_150(3)")).text


def test_the_definition_of_what_is_asked_for_stays_whole() -> None:
    body = "def put_pear(till):\n    till.pears += 1\n\n    return till\n"
    used = "".join(f"    n{number} = put_pear(till_{number})\n" for number in range(9))
    other = "def b(till):\n    return till.pears\n"
    text = f"{noise(200)}{body}\n{other}def test_all(till):\n{used}{noise(200)}"
    found = extracted(text, request_of("What does put_pear do, and the 'b' of the till?"), 0, count)
    assert body in found.text
    assert other in found.text
    assert "n4 = put_pear" not in found.text  # it stands all over the text
    rare = text.replace(used, used.split("\n")[0] + "\n")
    assert "n0 = put_pear" in extracted(rare, request_of("put_pear"), 0, count).text
    assert other not in extracted(text, request_of("the b of the till"), 0, count).text


def test_both_ends_stay_and_blocks_are_whole() -> None:
    paragraphs = "\n".join(
        "".join(f"part {letters(n)} tells of thing{n}x{m} in its own words\n" for m in range(6))
        for n in range(60)
    )
    found = extracted(paragraphs, NOTHING, 600, count)
    assert paragraphs.rstrip().endswith(found.text[-200:])
    assert found.kept[0][0] == 1
    assert len(found.kept) <= 12
    assert 560 <= found.tokens <= 600


def letters(number: int) -> str:
    return chr(97 + number // 26) + chr(97 + number % 26)


def test_lines_that_differ_by_numbers_alone_are_shown_a_few_times_however_much_room_there_is() -> (
    None
):
    coins = "".join(f"coin {n} of {n * 3} went into drawer {n % 7}\n" for n in range(900))
    found = extracted(f"{coins}TillError: no till\n", NOTHING, 2_000, count)
    assert "TillError: no till" in found.text
    assert "coin 899 of" in found.text  # it says what went before the error
    assert 3 < found.text.count("went into drawer") < 20
    assert found.tokens < 300
    # The numbers of what has a name tell one from the other.
    paths = "".join(f"src/pkg/module_{n}.py\n" for n in range(900))
    assert extracted(paths, NOTHING, 2_000, count).tokens > 1_500


def test_the_way_that_an_error_shares_with_an_earlier_one_is_told_once() -> None:
    shared = "".join(f'  File "shop/{letters(n)}.py", line {n + 1}, in run\n' for n in range(9))
    traces = "".join(
        f"ERROR: test_{letters(n)}\nTraceback (most recent call last):\n"
        f'  File "test_shop.py", line {n + 30}, in test_{letters(n)}\n{shared}'
        f"ValueError: no {letters(n)}\n\n"
        for n in range(20)
    )
    found = extracted(traces, NOTHING, 900, count)
    for n in range(20):
        assert f'File "test_shop.py", line {n + 30}, in test_{letters(n)}' in found.text
        assert f"ValueError: no {letters(n)}\n" in f"{found.text}\n"
    assert found.text.count('File "shop/ai.py", line 9, in run') == 1
    assert found.text.count("[… 9 lines as above]") == 19


def test_a_definition_that_each_failing_test_shows_is_told_once() -> None:
    body = "".join(f"        {letters(n)} = made_of({letters(n + 9)})\n" for n in range(9))
    tests = "".join(
        f"___________ test_{letters(n)} ___________\nvalue = '{letters(n)}'\n\n"
        f"    def put_pear(till):\n{body}>       raise ValueError(value)\n"
        f"E       ValueError: no {letters(n)}\n\ntill.py:12: ValueError\n"
        for n in range(20)
    )
    found = extracted(tests, request_of("Why does put_pear fail?"), 900, count)
    assert found.text.count("def put_pear(till):") == 1
    assert found.text.count("lines as in test_aa]") == 19
    for n in range(20):
        assert f"___________ test_{letters(n)} ___________" in found.text
        assert f"E       ValueError: no {letters(n)}\n" in f"{found.text}\n"


def test_verdicts_that_are_set_apart_by_spaces_are_alike() -> None:
    passed = "".join(
        f"test_till.py::test_{letters(n)}{' ' * (n % 9)} PASSED [ {n}%]\n" for n in range(500)
    )
    found = extracted(f"{passed}E   ValueError: no till\n", NOTHING, 4_000, count)
    assert "PASSED]" in found.text
    assert found.tokens < 400


def test_gaps_name_the_modules_near_by_that_no_shown_line_names() -> None:
    said = "\n".join(f"{letters(n)} is done with some {letters(n * 7 % 600)}" for n in range(600))
    lines = said.split("\n")
    for hops, place in ((1, 100), (2, 300), (3, 305), (4, 500)):
        lines[place] = f"src/m{hops}.py is read by {letters(place)}"
    near = {f"src/m{hops}.py": hops for hops in (1, 2, 3, 4)}
    found = extracted("\n".join(lines), request_of("Mend src/main.py", near), 200, count)
    assert "src/m1.py is read" in found.text
    assert "; modules near by in them: src/m2.py, src/m3.py, src/m4.py]" in found.text
    assert found.tokens <= 200
    far = {f"src/m{hops}.py": 5 for hops in (1, 2, 3, 4)}
    assert (
        "near by"
        not in extracted("\n".join(lines), request_of("Mend src/main.py", far), 200, count).text
    )


def test_definitions_whose_bodies_are_left_out_are_shown_by_their_first_lines() -> None:
    body = "".join(f"    self.{letters(n)} = made_of({letters(n * 3 % 600)})\n" for n in range(60))
    code = "".join(f"def work_{letters(n)}(self):\n{body}" for n in range(8))
    found = extracted(code, NOTHING, 900, count)
    assert [n for n in range(8) if f"def work_{letters(n)}(self):" in found.text] == [*range(8)]
    script = code.replace("def ", "    private async ").replace("):", "): void {")
    found = extracted(script, NOTHING, 900, count)
    assert [n for n in range(8) if f"work_{letters(n)}(self): void" in found.text] == [*range(8)]


def test_paths_that_lie_near_rank_by_their_distance() -> None:
    listing = "".join(f"src/m{number}.py is read\n" for number in range(500))
    near = {"src/m100.py": 1, "src/m200.py": 4, "src/m300.py": 5}
    text = short(listing, request_of("mend it", near)).text
    assert "src/m100.py" in text
    assert "src/m200.py" in text
    assert "src/m300.py" not in text
    assert request_of("mend it", near).near == (("src/m100.py", 1), ("src/m200.py", 4))


def test_repeated_lines_are_counted() -> None:
    passed = "".join(f"tests/test_a.py::test_{n} PASSED [ 10%]\n" for n in range(340))
    found = short(passed + "tests/test_b.py::test_z FAILED [100%]\n= 1 failed, 340 passed =\n")
    assert "test_b.py::test_z FAILED" in found.text
    assert "1 failed, 340 passed" in found.text
    assert any("PASSED]" in line and line.startswith("[…") for line in found.text.split("\n"))


def test_protected_text_larger_than_the_target_is_told_and_never_cut() -> None:
    errors = "".join(f"pkg/a{number}.py:3: error: no type here\n" for number in range(200))
    found = short(noise(200) + errors + noise(200))
    assert all(line in found.text for line in errors.splitlines())
    assert found.protected > found.target
    assert f"[what must stay has {found.protected:,} tokens, the target 200]" in found.text


def test_nothing_is_changed_where_all_must_stay() -> None:
    errors = "".join(f"pkg/a{number}.py:3: error: no type here\n" for number in range(200))
    found = short(errors)
    assert (found.text, found.state) == (errors, "")


def test_a_target_of_0_leaves_what_must_stay() -> None:
    settings = CompressionSettings(target=0, over=100, most=1.0, share=1.0)
    found = compressed(noise(100) + TRACE + noise(100), NOTHING, settings, count)
    assert TRACE.strip() in found.text
    assert "step" not in found.text
    assert found.protected > found.target


def test_the_share_that_may_go_raises_the_target_and_more_makes_a_preview() -> None:
    text = noise(300)  # about 3,000 tokens
    tokens = count(text)
    settings = CompressionSettings(target=1_000, over=1_000)
    half = compressed(text, NOTHING, settings, count, share=0.5)
    assert half.target == tokens - tokens // 2
    assert half.state == "compressed"
    assert compressed(text, NOTHING, settings, count, share=0.7).target < half.target
    preview = compressed(text * 4, NOTHING, settings, count, share=0.5)
    assert (preview.state, preview.target) == ("offloaded", 1_000)
    assert preview.text.startswith("[offloaded: ")
    assert (share_of("mistral"), share_of("qwen3"), share_of("other")) == (0.7, 0.5, 0.7)


def test_a_guideline_moves_what_stays_and_an_empty_one_changes_nothing() -> None:
    text = noise(200) + "the till holds a pear\n" + noise(200)
    rule = KeepRule(name="pear", worth=5.0)
    ruled = SMALL.model_copy(update={"guideline": (rule,)})
    plain = compressed(text, NOTHING, SMALL, count)
    assert "the till holds a pear" in compressed(text, NOTHING, ruled, count).text
    same = SMALL.model_copy(update={"guideline": ()})
    assert compressed(text, NOTHING, same, count) == plain
    less = SMALL.model_copy(update={"guideline": (KeepRule(place="first", worth=-9.0),)})
    assert "step 0 of" not in compressed(text, NOTHING, less, count).text
    assert str(rule) == "name pear: +5"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": 300, "over": 200}, "compression.over: needed the 300 tokens"),
        ({"target": -1}, "greater than or equal to 0"),
        ({"share": 1.5}, "less than or equal to 1"),
        ({"guideline": [{"kind": "poem"}]}, "Input should be"),
    ],
)
def test_bad_settings_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CompressionSettings.model_validate(fields)


# Bad input


def test_an_output_of_50_mb_takes_bounded_time_and_memory() -> None:
    line = "worker 17 wrote block 2931 of the image to the disk, 4096 bytes in 3 ms\n"
    text = line * (25 * 2**20 // len(line)) + TRACE + line * (25 * 2**20 // len(line))
    tracemalloc.start()
    begin = time.process_time()
    found = compressed(
        text, request_of("why is pear not in the till"), CompressionSettings(), count
    )
    taken, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert TRACE.strip() in found.text
    assert found.tokens <= 2_000
    assert found.estimated
    assert peak < 16 * len(text)
    assert taken < 120


def test_a_binary_output_is_a_line() -> None:
    body = bytes(range(256)) * 400
    found = compressed(
        body.decode(errors="replace"), NOTHING, SMALL, count, name="blob:0123456789ab"
    )
    assert found.text == (
        f"[{len(body.decode(errors='replace')):,} characters that are no text;"
        " 'backcast cat blob:0123456789ab' prints it]"
    )
    assert (found.state, found.kept) == ("offloaded", ())


def test_one_line_of_10_mb_is_shown_in_pieces() -> None:
    line = "word " * (5 * 2**20 // 5) + "ValueError: no till here " + "word " * (5 * 2**20 // 5)
    found = compressed(line, NOTHING, CompressionSettings(), count)
    assert "ValueError: no till here" in found.text
    assert "characters of this line]" in found.text
    assert found.tokens <= 2_000


def test_text_that_was_cut_within_a_character_or_a_colour_stays_text() -> None:
    torn = "Größe €".encode()[:-1].decode(errors="replace") + "\ud83d half of one\n\x1b[31"
    text = noise(100) + f"ERROR: {torn}" + "\n" + noise(100)
    found = short(text)
    assert "ERROR: Größe �" in found.text
    assert "\ud83d half of one" in found.text


def test_what_a_terminal_writes_over_is_not_shown() -> None:
    bar = "\r".join(f"{percent}% done" for percent in range(100))
    found = short(f"\x1b[32mbegin\x1b[0m\r\n{bar}\n" + noise(200))
    assert "\x1b" not in found.text
    assert "98% done" not in found.text


@given(
    st.lists(
        st.sampled_from(
            ["ok", "", "E   assert 1 == 2", '  File "a.py", line 3, in f', "    x = 1",
             "def f(x):", "= 1 failed =", "a/b.py:3: error: no", "\x00", "é€😀", "word " * 300]
        ),
        max_size=200,
    ),
    st.integers(0, 400),
)  # fmt: skip
def test_lines_are_kept_whole_in_order_and_errors_always(lines: list[str], target: int) -> None:
    text = "\n".join(lines)
    found = extracted(text, NOTHING, target, count)
    shown = found.text.split("\n")
    if not found.state:
        assert found.text == text
        return
    if found.kept:
        assert {line for line in lines if "assert 1 ==" in line} <= set(shown)
    if found.tokens > target:
        assert found.protected + 60 + 8 * len(shown) > target
    kept = [number for first, last in found.kept for number in range(first, last + 1)]
    assert kept == sorted(set(kept))
    assert extracted(text, NOTHING, target, count) == found


def test_equal_inputs_give_equal_bytes_under_any_hash_seed() -> None:
    program = (
        "from backcast.domain.compression import extracted\n"
        "from backcast.domain.text_request import request_of\n"
        "text = '\\n'.join(f'def work_{n}(a, b): return shop.till_{n % 7}' for n in range(300))\n"
        "near = {'shop/a.py': 2, 'shop/b.py': 1}\n"
        "asked = request_of('why do work_5 and work_9 and the shop till in shop/till.py', near)\n"
        "print(extracted(text, asked, 300, len))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "77")
    }  # fmt: skip
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("tests/test_a.py::test_b FAILED [ 3%]", "error"),
        ("src/a.py:10: error: Missing return  [return]", "error"),
        ("    at Object.run (/srv/app.js:10:5)", "frame"),
        ("tests/test_a.py:12: AssertionError", "frame"),
        ("During handling of the above exception, another exception occurred:", "cause"),
        ("_______ test_total _______", "heading"),
        ("  12\tdef total(self):", "definition"),
        ("from shop import till", "import"),
        ("Collecting httpx", "progress"),
        ("./src/click/core.py", "path"),
        ("src/click/core.py:33: x", "reference"),
        ("a plain line", "plain"),
        ("   ", "blank"),
    ],
)
def test_kinds_of_lines(line: str, kind: str) -> None:
    assert kinds_of([line]) == [kind]
