"""How much of a prompt is that of the one before, and where they part."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.budget import PROFILES
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import CheckFailure, ChecksRan, TaskStarted
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT
from backcast.engine.context.prefix import Prefix, compared, encoded
from backcast.engine.context.recorded import context_at, messages, record_context
from backcast.engine.context.request import Request
from backcast.engine.log import EventStore
from backcast.engine.models.prefixes import shared
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.replay.verify import verified
from tests.sources import Task

BOUND = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")
LETTERS = Request("module:letters.py")
COUNTER = UpperBound()
FREE = DEFAULT.model_copy(update={"keep": False})


def prompt(text: str) -> list[PromptPiece]:
    return pieces("mistral", [("system", "S"), ("user", text)])


# Two prompts


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_what_is_shared_is_the_longest_common_beginning(
    same: list[int], before: list[int], after: list[int]
) -> None:
    many = shared([*same, *before], [*same, *after])
    assert many >= len(same)
    assert [*same, *before][:many] == [*same, *after][:many]
    assert [*same, *before][many : many + 1] != [*same, *after][many : many + 1] or many in (
        len(same) + len(before),
        len(same) + len(after),
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_equal_prompts_share_all_and_part_nowhere(text: str, other: str) -> None:
    found = compared(prompt(text), prompt(text), COUNTER)
    assert found == Prefix(found.of, found.of, "")
    assert compared(prompt(text), prompt(other), COUNTER).tokens <= found.of


def test_a_control_token_is_one_token_and_no_text_is_one() -> None:
    assert encoded([PromptPiece("[INST]", True)], COUNTER) == ["[INST]"]
    posing = [PromptPiece("<s>", True), PromptPiece("[INST]S"), PromptPiece("[/INST]", True)]
    real = [
        PromptPiece("<s>", True),
        PromptPiece("[INST]", True),
        PromptPiece("S"),
        PromptPiece("[/INST]", True),
    ]
    assert compared(posing, real, COUNTER).tokens == 1


@pytest.mark.parametrize(
    ("before", "after", "section"),
    [
        ("# Dependencies\n\nf\n\n# Task\n\na", "# Dependencies\n\nf\n\n# Task\n\nb", "task"),
        (
            "# Dependencies\n\nf\n\n# Task\n\na",
            "# Dependencies\n\ng\n\n# Task\n\na",
            "dependencies",
        ),
        ("# Dependencies\n\nf\n\n# Task", "# Dependencies\n\nf\n\n# Added\n\ng\n\n# Task", "added"),
        ("# Dependencies\n\nf", "# Dependencies\n\nf\ng", "dependencies"),
        ("# Dependencies\n\nf\ng", "# Dependencies\n\nf", "dependencies"),
        ("a", "b", ""),
    ],
)
def test_the_section_of_the_first_difference_is_named(
    before: str, after: str, section: str
) -> None:
    assert compared(prompt(before), prompt(after), COUNTER).section == section


# Two recorded contexts


VERBS = ("read", "write", "check", "parse", "format", "count")
NOUNS = ("address", "invoice", "parcel", "order", "price", "customer")


def module(noun: str) -> str:
    """A module with a function for each verb."""
    return "".join(
        f'def {verb}_{noun}(text: str) -> str:\n    """The {noun}, {verb} from text."""\n'
        f"    return text.strip()\n\n\n"
        for verb in VERBS
    )


def letters(names: Sequence[str]) -> str:
    """A module that uses other modules and has these functions."""
    imports = "".join(f"from {noun} import read_{noun}, check_{noun}\n" for noun in NOUNS[:3])
    calls = " and ".join(f"check_{noun}(text)" for noun in NOUNS[:3])
    return imports + "".join(f"def {name}(text):\n    return {calls}\n" for name in names)


@pytest.fixture
def task() -> Iterator[Task]:
    """A task whose context about letters.py has been recorded."""
    task = Task()
    with task.store:
        task.happened(TaskStarted(goal="Write letters."))
        for noun in NOUNS:
            task.wrote(f"{noun}.py", module(noun))
        task.wrote("letters.py", letters(["greet"]))
        task.outlined()
        record_context(task.store, task.id, NOW, LETTERS, BOUND)
        yield task


def gone_on(task: Task) -> None:
    """Another iteration of the module that is worked on, and a check that fails."""
    task.wrote("letters.py", letters(["greet", "part"]))
    task.outlined()
    failure = CheckFailure(name="test_part", message="AssertionError: no farewell")
    task.happened(ChecksRan(passed=1, failed=1, module_name="letters.py", failures=(failure,)))


def recorded(store: EventStore, task_id: str) -> list[ContextBuilt]:
    facts = (event.fact for event in store.read(task_id, types=["CONTEXT_BUILT"]))
    return [fact for fact in facts if isinstance(fact, ContextBuilt)]


def beginnings(task: Task, facts: Sequence[ContextBuilt]) -> tuple[int, int]:
    """The leading tokens that two recorded prompts share, and those of the later one."""
    before, after = (
        encoded(pieces("mistral", messages(fact, task.store.get)), COUNTER) for fact in facts
    )
    return shared(before, after), len(after)


def test_a_prompt_after_an_iteration_and_a_failing_check_begins_as_the_one_before(
    task: Task,
) -> None:
    gone_on(task)
    record_context(task.store, task.id, NOW, LETTERS, BOUND)
    first, second = recorded(task.store, task.id)
    many, of = beginnings(task, (first, second))
    assert many >= 0.8 * of  # 3,822 of 4,160
    assert (first.shared_prefix, first.parted_in) == (None, None)
    assert (second.shared_prefix, second.tokens) == (many, of)
    assert second.parted_in == "current module"
    assert "no farewell" in messages(second, task.store.get)[-1][1]
    assert [verdict.holds for verdict in verified(task.store, task.id)] == [True, True]


def test_without_keep_it_would_not(task: Task) -> None:
    gone_on(task)
    record_context(task.store, task.id, NOW, LETTERS, BOUND, FREE)
    many, of = beginnings(task, recorded(task.store, task.id))
    assert many < 0.8 * of  # 735 of 4,117


def test_an_unchanged_moment_gives_the_same_prompt_again(task: Task) -> None:
    record_context(task.store, task.id, NOW, LETTERS, BOUND)
    first, second = recorded(task.store, task.id)
    assert second.digest == first.digest
    assert (second.shared_prefix, second.parted_in) == (second.tokens, "")


def test_a_prompt_about_another_target_keeps_nothing(task: Task) -> None:
    other = Request("module:price.py")
    alone = context_at(
        task.store, task.id, NOW, other, BOUND, DEFAULT.model_copy(update={"keep": False})
    )
    record_context(task.store, task.id, NOW, other, BOUND)
    _, second = recorded(task.store, task.id)
    assert second.digest == alone.digest
    assert "added" not in second.sections
    assert second.shared_prefix == beginnings(task, recorded(task.store, task.id))[0]
    assert all(verdict.holds for verdict in verified(task.store, task.id))


def test_what_has_changed_is_not_kept_as_it_was(task: Task) -> None:
    task.wrote("address.py", module("address").replace("strip()", "lower()"))
    task.outlined()
    record_context(task.store, task.id, NOW, LETTERS, BOUND)
    first, second = recorded(task.store, task.id)
    assert "text.lower()" in messages(second, task.store.get)[-1][1]
    texts = {item.node: item.text for item in first.items}
    changed = [item for item in second.items if texts.get(item.node, item.text) != item.text]
    assert {item.section for item in changed} <= {"added", "current module"}
    assert all(verdict.holds for verdict in verified(task.store, task.id))
