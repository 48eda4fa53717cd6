"""Runs as a person starts them: what is printed, what is left, and what goes wrong."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import ModelFailed, ModelReplied, WorkflowEvent
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.models.tokenizers import tell_bound
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.recorded_run import RecordedRun
from backcast.engine.workflow.runtime import open_runtime
from tests.models import tiny
from tests.servers import FINE, Handler, hostile, llama_server

HERE = Path(__file__).parents[1]
SPEC, LOG = HERE / "fixtures/specs/validators.toml", HERE / "fixtures/logs/validators.jsonl"
RECORDED = f"answers:{LOG}"
Ran = tuple[int, str, str]
Backcast = Callable[..., Ran]


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    """Runs a command in a folder of its own; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        return (int(end.value.code or 0), *capsys.readouterr())

    return run


def events(*types: str) -> list[WorkflowEvent]:
    with EventStore.open(create=False) as store:
        return list(store.read("validators", types=types))


def assert_verified() -> None:
    with EventStore.open(create=False) as store:
        verdicts = list(verified(store, "validators"))
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.holds] == []


def test_a_recorded_run_leaves_its_code_and_tells_each_step(backcast: Backcast) -> None:
    code, out, err = backcast("run", SPEC, "--model", RECORDED)
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["module", "iterations", "tests", "passed", "status"],
        ["constants.py", "1", "100%", "complete"],
        ["validators.py", "3", "100%", "complete"],
        ["complete", "after", "5", "answers;", "the", "code", "is", "in", "out/validators"],
    ]
    told = err.splitlines()
    assert told[0].startswith("plan                 constants.py, validators.py  (prompt ")
    assert "16 of 19 passed  (prompt " in told[2]
    assert "; test_validators.py:12 test_an_address_is_valid[ann.lee@example.org]" in told[2]
    assert told[-3:-1] == ["all tests            19 of 19 passed", "complete"]
    assert told[-1] == "context map          8 edits"
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "out/validators"]
    done = subprocess.run(tests, capture_output=True, text=True, check=False)
    assert (done.returncode, "19 passed" in done.stdout) == (0, True)
    assert_verified()


def test_a_run_for_programs_is_one_object(backcast: Backcast) -> None:
    code, out, _ = backcast("run", SPEC, "--model", RECORDED, "--out", "code", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["status"], told["replies"], told["out"]) == ("complete", 5, "code")
    assert told["modules"]["validators.py"]["iteration"] == 3
    assert sorted(path.name for path in Path("code").iterdir()) == [
        "constants.py", "test_validators.py", "validators.py",
    ]  # fmt: skip


def test_a_task_is_started_once_and_gone_on_with_from_its_end(backcast: Backcast) -> None:
    backcast("run", SPEC, "--model", RECORDED)
    before = len(events())
    code, _, err = backcast("run", SPEC, "--model", RECORDED)
    assert (code, "'backcast resume validators' goes on with it" in err) == (2, True)
    code, out, _ = backcast("resume", "validators")
    assert (code, out.splitlines()[-1]) == (
        0, "complete after 5 answers; the code is in out/validators",
    )  # fmt: skip
    assert len(events()) == before


def test_a_file_that_no_run_has_made_is_not_written_over(backcast: Backcast) -> None:
    Path("code").mkdir()
    Path("code/validators.py").write_text("# mine\n")
    code, _, err = backcast("run", SPEC, "--model", RECORDED, "--out", "code")
    assert (code, Path("code/validators.py").read_text()) == (1, "# mine\n")
    assert "code/validators.py: needed a free place, found a file that no run has made" in err
    code, out, _ = backcast("resume", "validators", "--out", "other")
    assert (code, "the code is in other" in out) == (0, True)
    for _ in range(2):  # what a run has made may be written again
        assert backcast("resume", "validators", "--out", "other")[0] == 0
    Path("file").write_text("")
    code, _, err = backcast("run", SPEC, "--model", RECORDED, "--out", "file")
    assert (code, err) == (2, "backcast: file: needed a folder for the code, found a file\n")


def test_a_recorded_prompt_is_printed_as_it_was(backcast: Backcast) -> None:
    backcast("run", SPEC, "--model", RECORDED)
    [*_, last] = events("CONTEXT_BUILT")
    prompt = f"validators@{last.version}"
    code, out, _ = backcast("context", prompt)
    assert (code, out.startswith("[system]\nWrite Python")) == (0, True)
    assert "Mend validators.py" in out
    code, out, _ = backcast("context", prompt, "--json")
    assert json.loads(out)["digest"] == last.fact.data["digest"]
    code, _, err = backcast("context", "validators@1")
    assert (code, "validators@1: needed the event of a prompt" in err) == (2, True)


def test_where_the_recorded_tokenizer_is_not_installed_a_bound_counts_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> None:
        raise InputError(f"no {name} here")

    monkeypatch.setattr("backcast.engine.models.tokenizers.tokenizer_of", missing)
    tell_bound.cache_clear()  # it tells once
    assert open_runtime(RECORDED).profile.tokenizer == "upper-bound"
    [told] = [record.getMessage() for record in caplog.records]
    assert told.endswith("upper bound, since what counts as mistral-v3 does is not installed")


def test_an_interrupted_run_says_how_to_go_on(
    backcast: Backcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RecordedRun, "complete", interrupted)
        code, out, err = backcast("run", SPEC, "--model", RECORDED)
    assert (code, out.splitlines()[-1]) == (130, "planning after 0 answers")
    assert err.splitlines()[-1] == "backcast: 'backcast resume validators' goes on from here"
    assert backcast("resume", "validators")[0] == 0


def test_a_task_that_is_there_is_told_before_its_model_is_opened(backcast: Backcast) -> None:
    assert backcast("run", SPEC, "--model", RECORDED)[0] == 0
    code, out, err = backcast("run", SPEC, "--model", "http://127.0.0.1:9/v1")
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert "'validators' is in this store already: 'backcast resume validators' goes on" in line


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("gpt", "needed a model as answers:FILE, llama:FILE or http://HOST:PORT/v1, found 'gpt'"),
        ("answers:none.jsonl", "none.jsonl"),
        (f"answers:{HERE}/fixtures/logs/addresses.jsonl", "found no answer of a model in it"),
        (f"answers:{SPEC}", "needed a log of JSON lines"),
        ("llama:none.gguf", "none.gguf"),
        (f"llama:{SPEC}", "validators.toml"),
        ("http://127.0.0.1:9/v1", "127.0.0.1:9"),
    ],
)
def test_a_model_that_is_not_there_is_told_in_a_line_and_nothing_is_begun(
    backcast: Backcast, model: str, complaint: str
) -> None:
    if model.startswith("llama:"):
        pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    code, out, err = backcast("run", SPEC, "--model", model)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("backcast: ")
    assert complaint in line
    assert events() == []


def test_what_was_not_run_by_backcast_cannot_be_gone_on_with(backcast: Backcast) -> None:
    backcast("import", "events", HERE / "fixtures/logs/addresses.jsonl")
    code, _, err = backcast("resume", "task-abc123", "--model", RECORDED)
    assert (code, "was not started by 'backcast run'" in err) == (2, True)
    assert backcast("resume", "none")[0] == 2


def test_a_window_too_small_is_told_with_both_numbers_and_a_larger_one_helps(
    backcast: Backcast, tmp_path: Path
) -> None:
    text = SPEC.read_text().replace("no network", "a,b;" * 2400)
    (tmp_path / "large.toml").write_text(text)
    (tmp_path / "test_validators.py").write_text(SPEC.with_name("test_validators.py").read_text())
    code, _, err = backcast("run", tmp_path / "large.toml", "--model", RECORDED)
    assert code == 1
    assert re.search(
        r"needed \d+,\d{3} tokens for the required items, found 5,\d{3}: the words", err
    )
    assert events("CONTEXT_BUILT") == []
    code, _, err = backcast("resume", "validators", "--profile", "mistral-7b-32k")
    assert code == 0, err


# A model in this process


def test_a_model_of_random_weights_is_asked_and_refused_and_the_task_fails(
    backcast: Backcast,
) -> None:
    code, out, err = backcast("run", SPEC, "--model", f"llama:{tiny('mistral')}")
    assert code == 1
    assert out.splitlines()[-1].startswith("failed after 4 answers")
    assert "failed: there is no plan after 2 tries" in err
    assert_counted(events("CONTEXT_BUILT", "MODEL_REPLIED"), 4)
    assert_verified()
    stood = len(events())
    code, _, err = backcast("resume", "validators", "--policy", "online-only")
    assert code == 1
    assert len(events()) == stood, "nothing is noted of an ended task"
    assert "had failed before, so nothing is asked: 'backcast fork validators@N' goes back" in err
    assert len(events("MODEL_REPLIED")) == 4


def assert_counted(told: list[WorkflowEvent], answers: int) -> None:
    """Every prompt had as many tokens as were counted, and those that were predicted were kept."""
    contexts = [event.fact for event in told if isinstance(event.fact, ContextBuilt)]
    replies = [event.fact for event in told if isinstance(event.fact, ModelReplied)]
    assert len(contexts) == len(replies) == answers
    for context, reply in zip(contexts, replies, strict=True):
        assert reply.prompt_tokens == context.tokens == reply.predicted_tokens
        assert reply.cached_tokens == (context.shared_prefix or 0)


# A model behind a server


@pytest.fixture(scope="module")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server("mistral", tmp_path_factory.mktemp("llama"), "-np", "1") as url:
        yield url


def test_a_real_llama_server_is_asked_with_its_own_window(
    backcast: Backcast, llama_url: str
) -> None:
    code, _, err = backcast("run", SPEC, "--model", f"{llama_url}/v1")
    assert (code, "failed: there is no plan after 2 tries" in err) == (1, True)
    assert_counted(events("CONTEXT_BUILT", "MODEL_REPLIED"), 4)
    assert_verified()


def test_a_profile_larger_than_the_window_of_the_server_is_refused(
    backcast: Backcast, llama_url: str
) -> None:
    url = f"{llama_url}/v1"
    code, _, err = backcast("run", SPEC, "--model", url, "--profile", "mistral-7b-32k")
    assert (code, events()) == (2, [])
    assert "needed a window of 32,768 tokens for profile mistral-7b-32k, found 16,384" in err


def replaying(
    recording: RecordedRun, spoiled: Callable[[int, Handler], bool]
) -> Callable[..., None]:
    """Answers over HTTP with what was recorded, in its order, but where an answer is spoiled."""
    texts = [
        recording.store.get(one.fact.text or "").decode()
        for one in recording.answers.values()
        if isinstance(one.fact, ModelReplied)
    ]
    number, given = count(1), iter(texts)

    def answer(handler: Handler) -> None:
        if not spoiled(next(number), handler):
            message = {"role": "assistant", "content": next(given)}
            handler.say(FINE | {"choices": [{"message": message, "finish_reason": "stop"}]})

    return answer


PROFILE = ("--profile", "mistral-7b-8k")


def test_a_server_that_is_not_llama_cpp_needs_a_profile_and_completes_the_task(
    backcast: Backcast,
) -> None:
    def busy_at_first(number: int, handler: Handler) -> bool:
        if number == 1:
            handler.say({"error": {"message": "busy"}}, 503)
        return number == 1

    with hostile(replaying(RecordedRun(LOG), busy_at_first)) as server:
        code, _, err = backcast("run", SPEC, "--model", f"{server.url}/v1")
        assert (code, "needed --profile" in err) == (2, True)
        code, out, err = backcast("run", SPEC, "--model", f"{server.url}/v1", *PROFILE)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("complete after 5 answers")
    assert [event.fact.data["model"] for event in events("MODEL_REPLIED")] == ["double"] * 5


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("<html>", 200, "garbled"),
        ({"choices": []}, 200, "garbled"),
        ({"error": {"message": "maximum context length is 9 tokens"}}, 400, "overflow"),
        ({"error": {"message": "no"}}, 401, "refused"),
    ],
)
def test_a_server_that_fails_stops_the_run_with_a_fact_and_the_run_goes_on_when_it_answers(
    backcast: Backcast, body: object, status: int, kind: str
) -> None:
    def fails_at_the_third(number: int, handler: Handler) -> bool:
        if number == 3:
            handler.say(body, status)
        return number == 3

    with hostile(replaying(RecordedRun(LOG), fails_at_the_third)) as server:
        code, _, err = backcast("run", SPEC, "--model", f"{server.url}/v1", *PROFILE)
        assert code == 1
        assert err.splitlines()[-1] == "backcast: 'backcast resume validators' goes on from here"
        [failed] = events("MODEL_FAILED")
        assert isinstance(failed.fact, ModelFailed)
        assert failed.fact.kind == kind
        code, out, err = backcast("resume", "validators")
    assert code == 0, err
    assert out.splitlines()[-1].startswith("complete after 5 answers")
    assert len(events("CONTEXT_BUILT")) == 5, "the prompt that failed was asked again as it was"
    assert_verified()


# A full disk

FULL = """
import resource, sys
from backcast.engine.interfaces.cli import main

sys.dont_write_bytecode = True  # half of it would stay, and spoil every later process
room = int(sys.argv.pop(1))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
main()
"""


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(backcast: Backcast) -> None:
    backcast("tasks")  # makes nothing, but the store is one
    command = [sys.executable, "-c", FULL, "200000", "run", str(SPEC), "--model", RECORDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.returncode == 1
    assert "nothing of this was written" in done.stderr.splitlines()[-1]
    stood = events()
    assert stood
    code, _, err = backcast("resume", "validators", "--model", RECORDED)
    assert code == 0, err
    assert events()[: len(stood)] == stood
    assert_verified()
