"""`backcast ask`: a question about a log from the command line, its tree, and its answer later."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import ModelError
from backcast.domain.events import ModuleIteration
from backcast.domain.question_events import AskedSubject
from backcast.domain.spending import Allowance
from backcast.engine.log import EventStore
from backcast.engine.models import Call, Limits
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.limits import limits_for
from backcast.engine.workflow.ask.task import start
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import fold, questions
from tests.asked import (
    PROFILE,
    REPOSITORY,
    TASK,
    Planner,
    answer,
    asking,
    explores,
    module,
    repository,
    source,
    subject_of,
)

Run = Callable[..., tuple[str, str, int]]
QUESTION = "Which factor has part 3?"


def says(call: Call) -> Any:
    if call.module == "q" and call.iteration == 1:
        asked = [{"question": "Where is part 3?", "about": ""},
                 {"question": "What does it multiply?", "about": module(3)}]  # fmt: skip
        return {"action": "ask_many", "questions": asked}
    if call.module == "q":
        return answer("21", (module(3), "factor: int = 21"), (module(3), "factor: int = 22"))
    if call.module == "q.1b" and call.iteration == 1:
        return {"action": "read", "node": module(3)}
    return answer("compute3 does", (module(3), "def compute3(value: int"))


@pytest.fixture
def asked(backcast: Run, tmp_path: Path) -> Run:
    """Commands in a folder with a store that holds a repository, and the recorded answers."""
    url = f"sqlite:///{tmp_path}/backcast.db"
    with repository(8) as first, EventStore.open(url, create=True) as store:
        for event in first.read(REPOSITORY):
            refs = [event.fact.data["source"]] if event.fact.data.get("source") else []
            for ref in refs:
                store.put(first.get(ref))
            store.append(REPOSITORY, [event.fact], after=store.version(REPOSITORY))
    said = f"sqlite:///{tmp_path}/said.db"
    with EventStore.open(url) as store, EventStore.open(said, create=True) as log:
        subject = subject_of(store)
        start(log, TASK, QUESTION, AskedSubject(task=REPOSITORY), limits_for(PROFILE))
        budget = Allowance(calls=40, tokens=200_000)
        runtime = Runtime(Planner(says), "p", PROFILE, budget=budget)
        Asking(log, TASK, runtime, lambda name: subject).work()
    assert backcast("export", TASK, "said.jsonl", "--store", said)[2] == 0
    return backcast


def ask(asked: Run, *options: str, code: int = 0) -> dict[str, Any]:
    out, err, ended = asked(
        "ask", f"{REPOSITORY}@last", QUESTION, "--model", "answers:said.jsonl", "--tokens",
        "200000", "--task", "ask-it", "--json", *options,
    )  # fmt: skip
    assert ended == code, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_question_is_a_task_of_its_own_that_other_commands_understand(asked: Run) -> None:
    found = ask(asked)
    assert (found["answer"], found["complete"], found["stale"]) == ("21", True, False)
    assert [quote["proven"] for quote in found["quotes"]] == [True, False]
    assert (found["questions"], found["calls"]) == (3, 5)
    assert found["subject"]["task"] == REPOSITORY
    assert found["subject"]["version"] > 0
    out, _, _ = asked("log", "ask-it", "--tree")
    lines = out.splitlines()
    assert lines[0].startswith("ask-it  5 calls, ")
    assert "└── q  Which factor has part 3?" in lines[1]
    assert "21 (1 of 2 quotes proven)" in lines[1]
    assert "│   ├── q.1a  Where is part 3?" in out
    assert "q.1b  What does it multiply? (about module:pkg0/part3.py)  2 calls" in out
    out, err, code = asked("verify", "ask-it")
    assert (out.count("rebuilt: same; derived: same"), code) == (5, 0), err
    assert "QUESTION_ASKED   q.1a: Where is part 3?" in asked("log", "ask-it")[0]
    assert "ask   5" in asked("stats", "ask-it")[0]
    assert "calls    5" in asked("show", "spending", "ask-it")[0]
    assert "Where is part 3?" in asked("context", "ask-it@9")[0] or asked("context", "ask-it")[0]
    assert "complete" in asked("show", "progress", "ask-it")[0]


def test_an_answer_whose_sources_have_moved_is_told_as_stale(asked: Run, tmp_path: Path) -> None:
    ask(asked)
    assert "STALE" not in asked("show", "answer", "ask-it")[0]
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        text = store.put(source(3).replace("= 21", "= 77").encode())
        fact = ModuleIteration(module_name=module(3), iteration=2, source=text)
        store.append(REPOSITORY, [fact], after=store.version(REPOSITORY))
    out, err, code = asked("show", "answer", "ask-it")
    assert "STALE: changed since by event" in out.splitlines()[1]
    assert "does not hold this text any more" in out.splitlines()[1]
    assert "stale: 2 of its 2 quotes have moved since" in err
    assert code == 0
    assert json.loads(asked("show", "answer", "ask-it", "--json")[0])["stale"] is True


def test_bad_input_is_told_in_one_line(asked: Run) -> None:
    model = ("--model", "answers:said.jsonl")
    for arguments, said in (
        (("ask", REPOSITORY, "Why?", *model, "--calls", "0"), "needed a budget above 0, found 0"),
        (("ask", REPOSITORY, "Why?", *model, "--depth", "-1"), "needed 0 or more, found -1"),
        (("ask", REPOSITORY, "   ", *model), "needed a question, found no words"),
        (
            ("ask", REPOSITORY, "Why?", *model, "--about", "module:pkg0/part30.py"),
            "near it: module",
        ),
        (("ask", "nothing", "Why?", *model), "nothing"),
        (("show", "answer", REPOSITORY), "answers no question"),
    ):
        out, err, code = asked(*arguments)
        assert (out, code) == ("", 2), arguments
        assert said in err
        assert len(err.splitlines()) <= 2
    ask(asked)
    out, err, code = asked("ask", REPOSITORY, QUESTION, *model, "--task", "ask-it")
    assert "is in this store already: 'backcast show answer ask-it'" in err
    assert code == 2


def test_a_question_that_stopped_goes_on_with_resume(asked: Run, tmp_path: Path) -> None:
    lines = (tmp_path / "said.jsonl").read_text().splitlines()
    last = max(n for n, line in enumerate(lines) if '"MODEL_REPLIED"' in line)
    (tmp_path / "part.jsonl").write_text("\n".join(lines[:last]) + "\n")
    out, err, code = asked(
        "ask", REPOSITORY, QUESTION, "--model", "answers:part.jsonl", "--tokens", "200000",
        "--task", "ask-it",
    )  # fmt: skip
    assert (out, code) == ("", 1)
    assert "'backcast resume ask-it' goes on from here" in err
    out, err, code = asked("resume", "ask-it", "--model", "answers:said.jsonl", "--json")
    assert code == 0, err
    assert json.loads(out)["answer"] == "21"
    out, _, _ = asked("log", "ask-it", "--type", "MODEL_REPLIED")
    assert len(out.splitlines()) == 5


def test_ctrl_c_ends_all_calls_of_a_question_and_what_was_answered_is_kept() -> None:
    def before(call: Call, limits: Limits) -> None:
        if call.module in ("q.2b", "q.2c"):
            assert limits.cancellation is not None
            limits.cancellation.pause(60)
        if call.module == "q.2d":
            time.sleep(30)

    with repository(40) as store, EventStore.open("sqlite://") as log:
        subject = subject_of(store)
        subject.look("warm", "", 10)
        first = asking(subject, Planner(lambda c: explores_in(c), before), log, concurrency=8)
        since = list[float]()

        def interrupt() -> None:
            since.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(3.0, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            first.work()
        timer.join()
        assert time.monotonic() - since[0] < 2
        settled = [event.fact.data["outcome"] for event in log.read(TASK, types=["CALL_SETTLED"])]
        assert settled.count("cancelled") == 3
        again = Planner(lambda c: explores_in(c))
        found = asking(subject, again, log).work().questions["q"].answer
        assert found is not None
        assert found.complete
        assert ("q", 1) not in [(call.module, call.iteration) for call in again.asked]


def explores_in(call: Call) -> Any:
    """Explore as in a repository of 200 modules, where only 40 are there."""
    reply = explores(call)
    return answer("there is less") if call.module.count(".") == 1 and call.iteration == 2 else reply


def test_a_root_that_fails_leaves_the_questions_that_it_asked_as_they_are() -> None:
    def before(call: Call, limits: Limits) -> None:
        if call.module == "q":
            raise ModelError("the server is down", "unavailable")

    with repository(8) as store, EventStore.open("sqlite://") as log:
        with pytest.raises(ModelError):
            asking(subject_of(store), Planner(explores, before), log).work()
        state: questions.State = fold(questions, log.read(TASK))
        assert state.questions["q"].answer is None
