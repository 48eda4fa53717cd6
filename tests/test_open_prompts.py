"""Several prompts of one task are open at a time: each answer belongs to the one it is to."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backcast
from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import AnswerRefused, ModelFailed, ModelReplied
from backcast.engine.interfaces.call_tree import calls_of, tree
from backcast.engine.interfaces.cli import main
from backcast.projections import calls, fold, progress, spending

PATHS = ("a.py", "b.py", "c.py")


@pytest.fixture
def till() -> backcast.Pipeline:
    return backcast.open("sqlite://").start("till", "A till", model="canned")


def answer_of(prompt: backcast.Prompt) -> str:
    """Return an answer that names its prompt."""
    return f"# to {prompt.event}\n"


def answers(till: backcast.Pipeline) -> dict[int, str]:
    """Return the text of each answer by the event of the prompt that the log says it is to."""
    texts, last, by_call = dict[int, str](), 0, dict[int, int]()
    for event in till.events():
        if isinstance(event.fact, ContextBuilt):
            last = by_call[event.version - 1] = event.version
        elif isinstance(event.fact, ModelReplied) and event.fact.text:
            to = by_call[event.fact.call] if event.fact.call else last
            texts[to] = till.store.get(event.fact.text).decode()
    return texts


async def write(till: backcast.Pipeline, path: str, random: Random) -> None:
    """Write a module in three prompts: one answer is refused, one fails its checks."""
    for attempt in range(3):
        prompt = till.ask(path, f"Write {path}.")
        await asyncio.sleep(random.random() / 1000)
        till.answered(text := answer_of(prompt), prompt=prompt, tokens=3, seconds=0.5)
        if attempt == 0:
            till.refused(f"no code of {path}", prompt=prompt)
            continue
        till.called("lint", f"{path} is long", prompt=prompt)
        await asyncio.sleep(random.random() / 1000)
        till.wrote(path, text, prompt=prompt)
        failures = [(f"test_{path}", f"{path} is wrong")] if attempt == 1 else []
        till.checked(path, passed=1 - len(failures), failures=failures)


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_modules_side_by_side_by_asyncio_have_their_own_answers(random: Random) -> None:
    till = backcast.open("sqlite://").start("till", "A till", model="canned")

    async def write_all() -> None:
        await asyncio.gather(*(write(till, path, random) for path in PATHS))

    asyncio.run(write_all())
    till.done()
    events, prompts = list(till.events()), till.prompts()
    assert answers(till) == {prompt.event: answer_of(prompt) for prompt in prompts}
    assert len(prompts) == 9
    assert all(verdict.holds for verdict in till.verify())
    for prompt in prompts:  # a prompt tells of its own module's refusal and failure, of no other's
        shown = "\n".join(message.content for message in prompt.messages)
        path = prompt.name.split()[1]
        assert [other for other in PATHS if f"no code of {other}" in shown] in ([], [path])
        assert [other for other in PATHS if f"{other} is wrong" in shown] in ([], [path])
    assert sum("no code of" in prompt.messages[-1].content for prompt in prompts) == 3
    traced = calls_of(events)
    assert {call.name: call.outcome for call in traced} == {
        f"code {path} {tried}": outcome
        for path in PATHS
        for tried, outcome in (("#1", "not used"), ("#1 attempt 2", "answered"), ("#2", "answered"))
    }
    assert "1 call," not in "\n".join(list(tree("till", traced))[1:])
    stands = fold(progress, events)
    assert (len(stands.lanes), stands.step, progress.waiting_for(stands)) == (0, None, "")
    spent = fold(spending, events)
    assert (spent.spent.calls, len(spent.open), spent.spent.seconds) == (9, 0, 4.5)
    asked = fold(calls, events).calls
    assert [asked[prompt.event].about for prompt in prompts] == [
        prompt.name.split()[1] for prompt in prompts
    ]
    [found] = backcast.regress([till], policies=["no-cache"])
    assert (found.before.prompts, found.after.prompts) == (9, 9)


def test_threads_of_one_pipeline_record_in_turn(tmp_path: Path) -> None:
    with backcast.open(tmp_path / "a.db") as store:
        till = store.start("till", "A till", model="canned")
        with ThreadPoolExecutor(4) as pool:
            for done in [
                pool.submit(asyncio.run, write(till, path, Random(number)))
                for number, path in enumerate(PATHS)
            ]:
                done.result()
        assert answers(till) == {prompt.event: answer_of(prompt) for prompt in till.prompts()}
        assert all(verdict.holds for verdict in till.verify())


def test_what_one_thing_after_the_other_records_names_no_call(till: backcast.Pipeline) -> None:
    for path in PATHS:
        prompt = till.ask(path, f"Write {path}.")
        till.unanswered("busy")
        till.answered("", prompt=prompt)  # asked again, and named: it is the last one all the same
        till.refused("no code")
        till.ask(path, f"Write {path}.")
        till.answered("pass")
        till.called("lint")
        till.wrote(path, "pass")
    for event in till.events():
        assert not {"call", "wave"} & set(event.fact.data), event
        assert not isinstance(event.fact, CallSettled)
        if isinstance(event.fact, ModelReplied | ModelFailed | AnswerRefused):
            assert event.fact.module_name is None


ABOUT = "2 prompts {}: till@7 code a.py #1, till@10 code b.py #1: say which one by"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda till: till.answered("x"),
            f"answered: {ABOUT.format('wait')} answered(..., prompt=",
        ),
        (lambda till: till.unanswered("gone"), f"unanswered: {ABOUT.format('wait')} unanswered("),
    ],
)
def test_which_prompt_is_answered_is_not_guessed(
    till: backcast.Pipeline, call: Callable[[backcast.Pipeline], object], message: str
) -> None:
    till.ask("a.py", "Write a.py.")
    till.ask("b.py", "Write b.py.")
    before = till.version
    with pytest.raises(InputError) as found:
        call(till)
    assert str(found.value).startswith(message)
    assert till.version == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda till: till.refused("x"), f"refused: {ABOUT.format('have an answer')} refused("),
        (lambda till: till.called("lint"), f"called: {ABOUT.format('have an answer')} called("),
        (lambda till: till.plan([]), f"plan: {ABOUT.format('have an answer')} plan("),
    ],
)
def test_which_answer_is_meant_is_not_guessed(
    till: backcast.Pipeline, call: Callable[[backcast.Pipeline], object], message: str
) -> None:
    first, second = till.ask("a.py", "Write a.py."), till.ask("b.py", "Write b.py.")
    till.answered("x = 2", prompt=second, model="other")
    till.answered("x = 1")  # only one waits
    assert answers(till) == {first.event: "x = 1", second.event: "x = 2"}
    before = till.version
    with pytest.raises(InputError) as found:
        call(till)
    assert str(found.value).startswith(message)
    assert till.version == before
    till.wrote("b.py", "x = 2")  # a module's text is of the answer about it
    till.called("lint", prompt=first)
    [made] = till.events(types=["MODULE_ITERATION"])
    [asked] = till.events(types=["TOOL_CALLED"])
    assert (made.writer, asked.writer) == ("other", "canned")


def test_a_prompt_that_is_none_of_the_task_or_has_its_answer_is_refused(
    till: backcast.Pipeline,
) -> None:
    prompt = till.ask("a.py", "Write a.py.")
    with pytest.raises(InputError, match=r"found till@7 code a.py #1, which has none yet"):
        till.refused("no code", prompt=prompt)
    till.answered("x", prompt=prompt)
    with pytest.raises(InputError, match=r"found till@7 code a.py #1, which event 8 answers"):
        till.answered("y", prompt=prompt)
    till.wrote("a.py", "x", prompt=prompt)
    with pytest.raises(InputError, match="whose answer was used or refused"):
        till.refused("no code", prompt=prompt)
    with backcast.open_log("fixtures/logs/till.jsonl") as other:
        foreign = other.task("till").prompt(79)  # of the same name, and yet another task
        with pytest.raises(InputError, match=r"needed what ask\(\) of task 'till' returned"):
            till.answered("y", prompt=foreign)
    for wrong in ("a.py", 7, backcast.open("sqlite://").start("b", "B").ask("a.py", "Write.")):
        with pytest.raises(InputError, match=r"prompt: needed what ask\(\) returned, found"):
            till.answered("y", prompt=wrong)  # type: ignore[arg-type]


def test_several_answers_for_one_module_are_kept_apart(till: backcast.Pipeline) -> None:
    prompts = [till.ask("a.py", "Write a.py.") for _ in range(3)]
    for prompt in reversed(prompts):
        till.answered(answer_of(prompt), prompt=prompt)
    assert answers(till) == {prompt.event: answer_of(prompt) for prompt in prompts}
    till.wrote("a.py", answer_of(prompts[1]), prompt=prompts[1])
    till.checked("a.py", passed=1)
    stands = till.at().progress
    assert (stands.modules["a.py"].status, progress.waiting_for(stands)) == (
        "complete", "the next step",
    )  # fmt: skip
    late = [till.ask("b.py", "Write b.py."), till.ask("b.py", "Write b.py.")]
    other = till.ask("c.py", "Write c.py.")
    till.answered("pass", prompt=late[1])
    till.wrote("b.py", "pass", prompt=late[1])
    till.answered("pass", prompt=late[0])  # when nobody needs it any more
    assert progress.waiting_for(till.at().progress).startswith("the model, asked by event")
    till.answered("pass")  # which is the only one that waits
    assert answers(till)[other.event] == "pass"
    assert all(verdict.holds for verdict in till.verify())


def test_after_a_crash_with_two_open_prompts_either_may_be_answered(tmp_path: Path) -> None:
    with backcast.open(tmp_path / "a.db") as store:
        till = store.start("till", "A till")
        first, second = till.ask("a.py", "Write a.py."), till.ask("b.py", "Write b.py.")
    with backcast.open(tmp_path / "a.db") as store:
        till = store.resume("till")
        with pytest.raises(InputError, match=r"2 prompts wait: till@7 code a\.py"):
            till.answered("x")
        till.answered("x", prompt=till.prompt(first.event))
        third = till.ask("b.py", "Write b.py.")  # what the other process asked is given up
        till.answered("y")
        assert answers(till) == {first.event: "x", third.event: "y"}
        till.wrote("b.py", "y")
        assert till.at().progress.modules["b.py"].iteration == 1
        assert second.event not in answers(till)
        assert all(verdict.holds for verdict in till.verify())


def test_the_commands_read_such_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path / 'a.db'}")
    with backcast.open(tmp_path / "a.db") as store:
        till = store.start("till", "A till")
        first, second = till.ask("a.py", "Write a.py."), till.ask("b.py", "Write b.py.")
        till.answered("# of a\n", prompt=first)
        till.unanswered("the server is gone", prompt=second)
        [reply] = till.events(types=["MODEL_REPLIED"])

    def printed(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        assert not end.value.code
        return "".join(capsys.readouterr())

    drawn = printed("log", "till", "--tree").splitlines()
    assert [line.split()[1:4] for line in drawn[1:]] == [
        ["code", "a.py", "#1"], ["code", "b.py", "#1"],
    ]  # fmt: skip
    assert drawn[1].endswith("answered")
    assert drawn[2].endswith("failed: the server is gone")
    assert printed("cat", f"till@{reply.version}").startswith("# of a\n")
    assert "2 prompts, 0 failed" in printed("verify", "till")
