"""Summaries: derived ones are functions of the moment, written ones are facts by a model."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import ChecksRan, TaskStarted
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.domain.summary import LIMITS, LIMITS_BY_WINDOW, summary_of
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.staleness import stale
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.summaries import node_summaries
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.memory.model_summariser import ModelSummariser
from backcast.engine.memory.outlines import Outlining
from backcast.engine.memory.resummarise import Resummarised, resummarise
from backcast.engine.memory.summariser import Extractive, Made, NodeFacts, Summariser
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.recording import Recording, digest_of
from backcast.engine.models.tokenizers import UpperBound
from backcast.projections import summaries
from tests.answer_recorder import AnswerRecorder
from tests.sources import SHOP, Task, modules_of

EMAIL = "function:validators.py::validate_email"
NODES = ("module:utils.py", EMAIL)


class Clerk:
    """A model that fills in the form with the first line that it is told; no language model."""

    id = "clerk"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[Sequence[Message]]()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        self.asked.append(messages)
        if self.answers:
            return Completion(self.answers.pop(0))
        assert schema is not None
        line = messages[1].content.splitlines()[0]
        texts = {"type": "string"}
        form = {
            name: line if kind == texts else [line] for name, kind in schema["properties"].items()
        }
        return Completion(json.dumps(form))


def shop() -> Task:
    task = Task()
    task.happened(TaskStarted(goal="validate what people type"))
    for path, source in SHOP.items():
        task.wrote(path, source)
    task.happened(ChecksRan(passed=3, failed=1, module_name="validators.py"))
    task.outlined()
    return task


def ask(
    task: Task, model: Clerk | AnswerRecorder | Recording, *nodes: str, at: Moment = NOW
) -> Resummarised:
    return resummarise(
        task.store, task.id, ModelSummariser(model), nodes or NODES, at, UpperBound()
    )


def test_a_function_is_told_by_its_interface_and_by_what_it_uses() -> None:
    summary = summary_of(modules_of(SHOP), EMAIL)
    assert summary is not None
    assert summary.text.splitlines() == [
        "Function: validate_email [in validators.py]",
        "Purpose: Whether a text is an address as RFC 5322 has it.",
        "Inputs: (text: str)",
        "Outputs: bool",
        "Raises: InvalidError",
        "Uses: [InvalidError]; [utils.py::normalise(text: str) -> str]",
    ]


def test_a_module_is_told_by_what_it_holds_and_needs() -> None:
    summary = summary_of(modules_of(SHOP), "module:validators.py")
    assert summary is not None
    assert summary.text.splitlines() == [
        "Module: validators.py",
        "Purpose: Validation of what people type.",
        "Holds: class InvalidError: It is not valid;"
        " validate_email(text: str) -> bool: Whether a text is an address as RFC 5322 has it",
        "Needs: [constants.py], [utils.py]",
        "Uses: [utils.py::normalise(text: str) -> str]",
    ]


def test_what_is_not_there_has_no_summary() -> None:
    modules = modules_of(SHOP)
    for node in ("module:none.py", "function:utils.py::none", "class:utils.py::normalise", "odd"):
        assert summary_of(modules, node) is None


@given(limit=st.integers(0, 400), node=st.sampled_from([EMAIL, "module:validators.py"]))
def test_a_summary_never_exceeds_its_limit_and_holds_whole_lines(limit: int, node: str) -> None:
    summary = summary_of(modules_of(SHOP), node)
    assert summary is not None
    tokens = UpperBound().count
    text, left_out = summary.fitted(limit, tokens)
    assert tokens(text) <= limit
    assert set(text.splitlines()) <= set(summary.text.splitlines())
    assert len(text.splitlines()) + len(left_out) == len(summary.parts)


def test_limits_depend_on_the_window() -> None:
    task = shop()
    sizes = {
        window: len(next(node_summaries(task.store, task.id, NOW, EMAIL, limits)).text)
        for window, limits in {**LIMITS_BY_WINDOW, "": LIMITS}.items()
    }
    assert sizes["8k"] <= 50 < sizes["32k"] == sizes[""] <= 150


def test_levels_refer_to_each_other_and_to_the_full_text() -> None:
    task = shop()
    whole, *_ = node_summaries(task.store, task.id, NOW, f"task:{task.id}", None)
    [one] = node_summaries(task.store, task.id, NOW, EMAIL, None)
    assert "[validators.py]" in whole.text
    assert "Status: generating" in whole.text
    assert "in validators.py" in one.text
    assert "Tests: test_an_address_is_valid" in one.text
    assert dict(whole.beside)["Next"].startswith("module:constants.py, module:test_validators.py")
    [module] = node_summaries(task.store, task.id, NOW, "module:validators.py", None)
    assert "Tests: 75% (3/4 tests passed), [test_validators.py]" in module.text
    assert dict(module.beside)["Next"].endswith(EMAIL)
    assert dict(one.beside) == {"Full code": f"storage://{task.id}/validators.py#L9-L13"}


def test_a_model_writes_what_it_answers_with_all_that_it_was_built_from() -> None:
    task = shop()
    assert ask(task, Clerk()) == Resummarised(2, 0, [])
    *_, event = task.store.read(task.id, types=["SUMMARY_WRITTEN"])
    fact = event.fact
    assert isinstance(fact, SummaryWritten)
    assert fact.node == EMAIL
    assert fact.text == "Function: validate_email [in validators.py]"
    assert fact.summariser == "clerk 1"
    assert fact.clock == {"validators.py": 1, "constants.py": 1, "utils.py": 1} or fact.clock == {
        "validators.py": 1,
        "utils.py": 1,
    }
    assert "body:validate_email" in fact.built_from["validators.py"]
    assert "sig:normalise" in fact.built_from["utils.py"]
    assert fact.tokens is None, "an upper bound is not a count"
    assert fact.answer is not None
    assert json.loads(task.store.get(fact.answer))["summary"] == fact.text


class Letters:
    """A tokenizer that knows what it counts."""

    id, exact = "letters", True

    def count(self, text: str) -> int:
        return len(text)

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_a_count_by_the_models_own_tokenizer_is_recorded() -> None:
    task = shop()
    resummarise(task.store, task.id, ModelSummariser(Clerk()), [EMAIL], NOW, Letters())
    [written] = state_at(task.store, summaries, task.id).nodes[EMAIL]
    assert written.tokens == len(written.text)


def test_an_answer_is_kept_as_it_came_whatever_is_in_it() -> None:
    task = shop()
    form = dict.fromkeys(("purpose", "inputs", "outputs", "workflow", "side_effects"), "x")
    raw = json.dumps(form | {"summary": "Short.", "more": "\ud800 é"}, ensure_ascii=False, indent=2)
    ask(task, Clerk(raw), EMAIL)
    [event] = task.store.read(task.id, types=["SUMMARY_WRITTEN"])
    answer = task.store.get(event.fact.data["answer"])
    assert answer.decode(errors="surrogatepass") == raw


def test_what_still_holds_is_not_asked_again() -> None:
    task = shop()
    ask(task, Clerk())
    assert ask(task, Clerk()) == Resummarised(0, 2, [])
    task.wrote("validators.py", SHOP["validators.py"].replace("in normalise", "not in normalise"))
    task.outlined()
    assert [one.node for one in stale(task.store, task.id, NOW)] == [EMAIL]
    assert ask(task, Clerk()) == Resummarised(1, 1, [])
    assert stale(task.store, task.id, NOW) == []


def test_a_task_is_asked_again_once_a_module_of_it_has_moved_on() -> None:
    task = shop()
    node = f"task:{task.id}"
    assert ask(task, Clerk(), node) == Resummarised(1, 0, [])
    assert ask(task, Clerk(), node) == Resummarised(0, 1, [])
    task.wrote("utils.py", "def normalise(text): return text")
    task.outlined()
    assert [one.node for one in stale(task.store, task.id, NOW)] == [node]
    assert ask(task, Clerk(), node) == Resummarised(1, 0, [])


def test_older_moments_keep_the_summaries_that_they_had() -> None:
    task = shop()
    ask(task, Clerk(), EMAIL)
    then = Moment(position=task.store.version(task.id))
    task.wrote("validators.py", "def validate_email(): pass")
    task.outlined()
    ask(task, Clerk(), EMAIL)
    [old] = state_at(task.store, summaries, task.id, then).nodes[EMAIL]
    [new] = state_at(task.store, summaries, task.id, NOW).nodes[EMAIL]
    assert (old.clock[-1], new.clock) == (("validators.py", 1), (("validators.py", 2),))


def test_a_recording_answers_as_the_model_did_and_nothing_else(tmp_path: Path) -> None:
    recording = tmp_path / "clerk.jsonl"
    ask(shop(), AnswerRecorder(Clerk(), recording))
    task = shop()
    assert ask(task, Recording(recording)) == Resummarised(2, 0, [])
    task.wrote("utils.py", "def normalise(other): pass")
    task.outlined()
    with pytest.raises(ModelError, match="holds no answer to this prompt"):
        ask(task, Recording(recording))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("no JSON", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("{}", "purpose: field required"),
        ('{"purpose": 3}', "purpose: input should be a valid string"),
    ],
)
def test_an_answer_that_cannot_be_used_is_asked_for_once_more(answer: str, problem: str) -> None:
    task, clerk = shop(), Clerk(answer)
    assert ask(task, clerk, EMAIL) == Resummarised(1, 0, [])
    assert problem in clerk.asked[1][-1].content
    twice = Clerk(answer, answer)
    failed = ask(shop(), twice, EMAIL).failed
    assert [(node, problem in said) for node, said in failed] == [(EMAIL, True)]


def test_a_summary_beyond_its_limit_is_not_taken() -> None:
    form = dict.fromkeys(("purpose", "inputs", "outputs", "workflow", "side_effects"), "x")
    long = json.dumps(form | {"summary": "word " * 200})
    [(_, problem)] = ask(shop(), Clerk(long, long), EMAIL).failed
    assert "has 1001 tokens, by an upper bound, at most 150 are needed" in problem


@pytest.mark.parametrize("summariser", [Extractive(), ModelSummariser(Clerk())])
def test_every_summariser_tells_a_node_within_its_limit_and_what_it_was_made_of(
    summariser: Summariser,
) -> None:
    told = summary_of(modules_of(SHOP), EMAIL)
    assert told is not None
    made = summariser.summarise(
        NodeFacts(told, "def f(): ..."), LIMITS_BY_WINDOW["8k"], UpperBound()
    )
    assert isinstance(made, Made)
    assert made.text.startswith(("Function: validate_email", "Purpose: Whether a text"))
    assert UpperBound().count(made.text) <= LIMITS_BY_WINDOW["8k"]["function"]
    assert set(told.built_from) <= set(made.built_from)
    assert summaries.named(summariser.id)[1] == 1


def test_what_is_derived_holds_and_is_not_recorded() -> None:
    task = shop()
    before = task.store.version(task.id)
    nodes = (f"task:{task.id}", *NODES, "module:none.py")
    done = resummarise(task.store, task.id, Extractive(), nodes, NOW, UpperBound())
    assert done == Resummarised(0, 3, [("module:none.py", "there is no such node at this moment")])
    assert task.store.version(task.id) == before


def test_the_rate_of_a_task_is_that_of_its_last_whole_run_else_of_its_modules_together() -> None:
    def rate(*runs: ChecksRan) -> str:
        task = Task()
        for ran in runs:
            task.happened(ran)
        return summaries.success_rate(state_at(task.store, summaries, task.id))

    mended = ChecksRan(passed=2, failed=0, module_name="b.py")
    by_module = [
        ChecksRan(passed=3, failed=1, module_name="a.py"),
        ChecksRan(passed=0, failed=2, module_name="b.py"),
        mended,
    ]
    assert rate() == ""
    assert rate(*by_module) == "83% (5/6 tests passed, by module)"
    assert rate(*by_module, ChecksRan(passed=1, failed=2), mended) == "33% (1/3 tests passed)"


def test_the_command_writes_from_a_recording_and_tells_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for arguments, code in (
        (("import", "events", str(log), *store), 0),
        (("resummarise", "task-def456", "--summariser", "extractive", *store), 0),
        (("resummarise", "task-def456", "--summariser", f"answers:{empty}", *store), 1),
        (("resummarise", "task-def456", "--summariser", "oracle", *store), 2),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == code
    out, told_of = capsys.readouterr()
    assert "wrote 0, 9 still hold, 0 failed" in out
    assert "extractive summaries are derived, and not recorded" in told_of
    assert "holds no answer to this prompt" in told_of
    assert "http://HOST:PORT/v1, found 'oracle'" in told_of


def test_the_command_counts_by_the_tokenizer_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mistral_common", reason="mistral-common is not installed")
    log = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"
    url = f"sqlite:///{tmp_path}/store.db"
    recording, node = tmp_path / "clerk.jsonl", "function:utils.py::normalise"
    with EventStore.open(url) as store:
        run(store, "events", log)
        Outlining(store, "task-def456").catch_up()
        summariser = ModelSummariser(AnswerRecorder(Clerk(), recording))
        nodes = [f"module:{path}" for path in ("utils.py", "validators.py")]
        resummarise(store, "task-def456", summariser, [node, *nodes], NOW, UpperBound())
        version = store.version("task-def456")
    address = f"task-def456@{version - 3}"
    base = ("resummarise", address, "--summariser", f"answers:{recording}", "--store", url)
    counted = []
    for more in (("--tokenizer", "upper-bound"), ()):
        with pytest.raises(SystemExit) as end:
            main([*base, "--node", node, *more])
        assert end.value.code == 0
        told_of = capsys.readouterr().err
        assert ("tokens are counted by an upper bound" in told_of) == bool(more)
        with EventStore.open(url) as store:
            *_, event = store.read("task-def456", types=["SUMMARY_WRITTEN"])
        counted.append((event.fact.data["tokens"], counts(event.fact.data["text"])))
    assert counted[0][0] is None
    assert counted[1][0] == counted[1][1][1] > 0


def test_its_help_tells_what_a_recording_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["help", "recordings"])
    [line] = [one for one in capsys.readouterr().out.splitlines() if one.startswith('{"prompt')]
    recording = tmp_path / "told.jsonl"
    recording.write_text(line.strip())
    assert Recording(recording).id == "qwen3-8b"


def test_a_prompt_is_known_by_the_digest_that_the_help_tells() -> None:
    messages, schema = [Message("system", "é"), Message("user", "b")], {"b": 1, "a": [2]}
    plain = '[[["system","é"],["user","b"]],600,{"a":[2],"b":1}]'
    assert digest_of(messages, Limits(600), schema) == sha256(plain.encode()).hexdigest()


def test_what_may_be_thought_is_part_of_the_prompt_where_something_may() -> None:
    digests = {digest_of([Message("user", "b")], Limits(600, n), None) for n in (0, 1, 2)}
    assert len(digests) == 3


@pytest.mark.parametrize(
    "line",
    ["no", "[]", '{"prompt": "x"}', '{"text": 1}', '{"prompt": "x", "text": 1}',
     '{"prompt": "x", "text": "y", "tokens": "many"}', "[" * 100_000],
    ids=range(7),
)  # fmt: skip
def test_a_recording_that_is_none_is_told_in_one_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(f"\n{line}")
    with pytest.raises(InputError, match="line 2: needed an object with prompt and text"):
        Recording(path)


class Says:
    """A model that answers as it is told."""

    id = "a model"

    def __init__(self, answer: Completion) -> None:
        self.answer = answer

    def complete(self, *_: object, **__: object) -> Completion:
        return self.answer


ODD = "one\u2028two\u0085three\x0c\ud800\0\r\n four é"


@pytest.mark.parametrize(
    "answer",
    [
        Completion(ODD, 9, 2, "length", 7, ODD, 1.5, "a model of another name"),
        Completion("", finish="length", thinking="Hm, or"),
    ],
    ids=["all", "little"],
)
def test_an_answer_comes_back_from_a_recording_as_it_was(
    tmp_path: Path, answer: Completion
) -> None:
    path, asked = tmp_path / "said.jsonl", [Message("user", ODD)]
    for limits in (Limits(9), Limits(9, 5)):
        AnswerRecorder(Says(answer), path).complete(asked, limits)
    recording = Recording(path)
    assert recording.id == (answer.model or Says.id)
    for limits in (Limits(9), Limits(9, 5)):
        assert recording.complete(asked, limits) == answer._replace(model="")
    with pytest.raises(ModelError):
        recording.complete(asked, Limits(9, 6))


def test_a_recording_of_an_earlier_version_can_still_be_read(tmp_path: Path) -> None:
    path, digest = tmp_path / "old.jsonl", digest_of([Message("user", "b")], Limits(600), None)
    told = {"prompt": digest, "model": "", "text": "a\u2028b", "tokens": 2, "note": "unknown"}
    path.write_text(json.dumps(told, ensure_ascii=False) + "\r\n")
    recording = Recording(path)
    assert recording.id == "old"
    answer = recording.complete([Message("user", "b")], Limits(600))
    assert answer == Completion("a\u2028b", None, 2)


@given(text=st.text(max_size=60))
def test_the_upper_bound_is_never_below_a_real_tokenizer(text: str) -> None:
    bound = UpperBound().count(text)
    for count in counts(text):
        assert count <= bound


def counts(text: str) -> list[int]:
    """The tokens of a text by the tokenizers of Mistral that are at hand."""
    return [len(tokenizer.encode(text, bos=False, eos=False)) for tokenizer in tokenizers()]


_TOKENIZERS: list[Any] = []


def tokenizers() -> list[Any]:
    if not _TOKENIZERS:
        mistral = pytest.importorskip(
            "mistral_common.tokens.tokenizers.mistral", reason="mistral-common is not installed"
        )
        for make in (mistral.MistralTokenizer.v1, mistral.MistralTokenizer.v3):
            _TOKENIZERS.append(make().instruct_tokenizer.tokenizer)
    return _TOKENIZERS
