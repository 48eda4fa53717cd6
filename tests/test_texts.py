"""Our own words in a prompt: settings of a policy, counted, left out, measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import InputError
from backcast.domain.policy import COVERAGE, Policy
from backcast.domain.texts import KNOWN, LINES, SHORT_WORDS, TEXTS, fields_of, problem_of, reworded
from backcast.engine.context.policies import changed, policy_at, policy_of
from backcast.engine.context.recorded import messages
from backcast.engine.context.rendering import RenderItem
from backcast.engine.interfaces.commands.policy import toml_lines
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.instructions import (
    text_parts,
    tokens_of,
    without_part,
    worded,
)
from backcast.engine.replay.steps import asked, steps

TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"
SHORT = Policy(name="short", **SHORT_WORDS)
VALUES = {
    field: f"<{field}>" for text in TEXTS.values() for field in fields_of(text)
}  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Policy]:
    def policy(text: str) -> Policy:
        path = tmp_path / "mine.toml"
        path.write_text(f'base = "coverage"\n{text}')
        return policy_at(path)

    return policy


def test_a_file_sets_some_texts_and_leaves_the_others(read: Callable[[str], Policy]) -> None:
    policy = read('[texts]\n"test results" = "# Tests"\nbeside = ""\n')
    assert changed(COVERAGE, policy) == [
        'texts.test results "# Test results" -> "# Tests"',
        'texts.beside "Beside it there are:" -> ""',
    ]
    assert policy_of(policy.body) == policy


@pytest.mark.parametrize("policy", [COVERAGE, SHORT])
def test_texts_are_printed_as_toml_that_gives_them_back(
    read: Callable[[str], Policy], policy: Policy
) -> None:
    assert read("\n".join(toml_lines(policy.model_dump(mode="json")))).digest == policy.digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lunch = "x"', "texts: needed one of context map, .*, found 'lunch'"),
        ('goal = "Do it."', "texts.goal: needed a text with {goal}, found 'Do it.'"),
        ('form = "Answer with {path}."', "texts.form: needed a text with ```python {path}, found"),
        ('form = ""', "texts.form: needed a text, found an empty one"),
        ('show = "Ask."', "texts.show: needed a text with ```show, found 'Ask.'"),
        ('work = "In {pth}."', "texts.work: needed no placeholder but {path}, found {pth} in"),
        ('work = "In {path!r}."', "texts.work: needed no placeholder but {path}, found {path} in"),
        ('beside = "By {path}:"', "texts.beside: needed no placeholder, found {path} in"),
        ('beside = "By {"', "texts.beside: needed a text in which braces hold a name, found"),
        ('beside = "By\\nit:"', r"texts.beside: needed one line, found 'By\\nit:'"),
        ("beside = 1", "texts.beside: needed a valid string, found 1"),
    ],
)
def test_a_text_that_says_too_little_is_refused_in_one_line(
    read: Callable[[str], Policy], text: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read(f"[texts]\n{text}\n")
    message = str(refused.value)
    assert "\n" not in message
    before, _, after = said.partition(".*")
    assert before.replace("\\\\", "\\") in message
    assert after in message


def test_a_recorded_policy_without_texts_gives_the_prompts_that_were_asked() -> None:
    with opened(str(TILL)) as log:
        for prompt in asked(log.store, "till"):
            body = log.store.get(prompt.fact.policy or "")
            assert "texts" not in json.loads(body)
            assert policy_of(body).words == TEXTS
            text = messages(prompt.fact, log.store.get)[1][1]
            assert "# Task description\n\nTask: " in text
        few = policy_of(json.dumps({"texts": {"beside": ""}}).encode())
    assert few.words == {**TEXTS, "beside": ""}


@given(st.lists(st.sampled_from(sorted(LINES)) | st.text(alphabet="ab {}-:.", max_size=20)))
def test_lines_that_no_text_made_stay(lines: list[str]) -> None:
    made = [TEXTS[line].format(**VALUES) if line in LINES else line for line in lines]
    text = "\n".join(made)
    assert reworded(text, TEXTS, TEXTS) == text
    shorter = reworded(text, TEXTS, SHORT.words).split("\n")
    expected = [
        SHORT.words[line].format(**VALUES) if line in LINES else line
        for line in lines
        if line not in LINES or SHORT.words[line]
    ]
    assert shorter == (expected or [""])


def test_short_words_may_be_set_by_people() -> None:
    assert [problem_of(name, text) for name, text in SHORT.words.items()] == [""] * len(KNOWN)


def test_a_recorded_step_is_shown_in_the_words_of_each_policy() -> None:
    with opened(str(TILL)) as log:
        step = next(one for one in steps(log.store, "till") if one.name == "code orders.py #2")
        pool = BuilderPool(log.store)
        texts = [
            PolicyReplay(pool, None, policy).context(step).messages[1][1]
            for policy in (COVERAGE, SHORT)
        ]
    assert step.request.query.startswith("Mend the module orders.py: ")
    form = "Answer with one fenced block that begins with ```python orders.py"
    assert [form in text for text in texts] == [True, False]
    assert [SHORT.words["form"].format(path="orders.py") in text for text in texts] == [False, True]
    assert [f"{SHORT.words['test results']}\n" in text for text in texts] == [False, True]
    goal = next(line for line in texts[0].split("\n") if line.startswith("Task: "))
    assert goal in texts[1]


ITEMS = (
    RenderItem("module:a.py", "dependencies", "def a() -> int: ...", "signature"),
    RenderItem("task:t", "task description", "Task: Add\nWork on b.py.\n- Work on it."),
)


def test_the_words_of_a_prompt_are_counted_without_what_they_hold() -> None:
    class Words:
        def encode(self, text: str) -> list[int]:
            return [1 for _ in text.split()]

    policy = COVERAGE.model_copy(update={"system": "Be brief."})
    # Two of each heading, one of a path's line; Task: / Work on; the user's last line is no text.
    assert tokens_of(ITEMS, policy, "mistral", Words()) == {
        "system": 2, "dependencies": 2, "task description": 3, "file": 1, "goal": 1, "work": 2,
        "all": 11,
    }  # fmt: skip


def test_a_prompt_is_worded_without_a_sentence() -> None:
    policy = COVERAGE.model_copy(update={"system": "Be brief. Be kind."})
    parts = {part.label: part for part in text_parts(policy)}
    whole = dict(worded(ITEMS, policy, policy))
    brief = dict(worded(ITEMS, policy, without_part(policy, parts["system: Be brief."])))
    assert brief == whole | {"system": "Be kind."}
    goal = dict(worded(ITEMS, policy, without_part(policy, parts["goal: Task:"])))
    assert goal["user"] == whole["user"].replace("Task: Add", "Add")
    title = parts["dependencies: # Dependencies"]
    untitled = dict(worded(ITEMS, policy, without_part(policy, title)))
    assert untitled["user"] == whole["user"].removeprefix("# Dependencies\n\n")
