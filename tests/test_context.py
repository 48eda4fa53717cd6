"""What a model is shown: it fits, always; it is the same, always; and it says why."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.budget import PROFILES, ModelProfile, allocated, checked, of_window
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BudgetExceededError, InputError
from backcast.domain.events import ChecksRan, TaskStarted
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import COVERAGE, SYSTEM, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.recorded import context_at, profile_of, record_context
from backcast.engine.context.request import Request
from backcast.engine.context.sources import SourceLines, Sources
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.models.llama_server import Server
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import UpperBound, tokenizer_of
from backcast.engine.replay.verify import verified
from backcast.projections import dependency_graph, online_cache
from tests.extras import needs_llama
from tests.sources import Task

HERE = Path(__file__).parents[1]
LOG = HERE / "fixtures/logs/shop.jsonl"
PROMPTS = HERE / "fixtures/prompts"
EMAIL = "function:validators.py::validate_email"
BOUND = {name: profile._replace(tokenizer="upper-bound") for name, profile in PROFILES.items()}


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as store:
        run(store, "events", LOG)
        yield store


# Budgets


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_row_of_a_profile_adds_up_to_its_window(profile: ModelProfile) -> None:
    assert sum(profile.rows.values()) == profile.window
    assert profile.generation >= 0.2 * profile.window


def test_a_budget_that_does_not_add_up_is_refused_with_both_numbers() -> None:
    profile = PROFILES["mistral-7b-8k"]
    with pytest.raises(InputError, match=r"add up to 8,193 tokens, its window has 8,192"):
        checked(profile._replace(rows={**profile.rows, "buffer": 381}))
    with pytest.raises(InputError, match="found 'lunch'"):
        checked(profile._replace(rows={**profile.rows, "lunch": 0}))


@given(
    tokens=st.integers(0, 10**6),
    shares=st.dictionaries(st.text(max_size=3), st.integers(0, 99), min_size=1),
)
def test_tokens_are_divided_whole_all_of_them_never_one_more(
    tokens: int, shares: dict[str, int]
) -> None:
    if not sum(shares.values()):
        with pytest.raises(InputError):
            allocated(tokens, shares)
        return
    rows = allocated(tokens, shares)
    assert sum(rows.values()) == tokens
    whole = sum(shares.values())
    assert all(abs(rows[row] - tokens * shares[row] / whole) < 1 for row in shares)


@given(window=st.integers(512, 300_000), tokens=st.integers(1, 100_000))
def test_profiles_of_any_window_and_context_add_up(window: int, tokens: int) -> None:
    profile = of_window("server", window, "upper-bound", "chatml")
    assert profile.generation >= window / 5
    assert profile.with_context(tokens, window + tokens).context == tokens
    if tokens > profile.context:
        with pytest.raises(InputError, match=f"needed a context of {profile.context:,} tokens or"):
            profile.with_context(tokens)
    else:
        assert profile.with_context(tokens).window <= window


def test_a_profile_made_by_hand_keeps_a_fifth_of_its_window_for_the_answer(
    store: EventStore,
) -> None:
    rows = dict(PROFILES["mistral-7b-8k"].rows)
    moved = {**rows, "generation": 1_638, "test results": rows["test results"] + 862}
    greedy = checked(BOUND["mistral-7b-8k"]._replace(name="greedy", rows=moved))
    both = "needed 1,639 tokens or more for the answer .20 % of its window of 8,192., found 1,638"
    for build in (context_at, record_context):
        with pytest.raises(InputError, match=both):
            build(store, "task-def456", NOW, Request(EMAIL), greedy)
    enough = {**moved, "generation": 1_639, "test results": moved["test results"] - 1}
    assert context_at(store, "task-def456", NOW, Request(EMAIL), greedy._replace(rows=enough)).items
    body = json.dumps(greedy._asdict()).encode()
    assert profile_of(body) == greedy  # a recorded one is read as it is


# Rendering


def test_mistral_takes_the_system_text_into_the_first_user_turn() -> None:
    told = pieces("mistral", [("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V")])
    assert "".join(piece.text for piece in told) == "<s>[INST]S\n\nU[/INST]A</s>[INST]V[/INST]"
    assert [piece.text for piece in told if piece.control] == [
        "<s>", "[INST]", "[/INST]", "</s>", "[INST]", "[/INST]",
    ]  # fmt: skip


def test_chatml_opens_the_answer() -> None:
    told = pieces("chatml", [("system", "S"), ("user", "U")])
    assert "".join(piece.text for piece in told) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_count_of_a_mistral_prompt_is_that_of_its_own_template() -> None:
    request = pytest.importorskip("mistral_common.protocol.instruct.request")
    messages = pytest.importorskip("mistral_common.protocol.instruct.messages")
    whole = pytest.importorskip("mistral_common.tokens.tokenizers.mistral")
    text = "Grüße, 世界 🌍\n\ndef f(): pass"
    asked = request.ChatCompletionRequest(
        messages=[messages.SystemMessage(content=SYSTEM), messages.UserMessage(content=text)]
    )
    theirs = len(whole.MistralTokenizer.v3().encode_chat_completion(asked).tokens)
    counter = tokenizer_of("mistral-v3")
    told = pieces("mistral", [("system", SYSTEM), ("user", text)])
    assert sum(1 if one.control else counter.count(one.text) for one in told) == theirs


@pytest.mark.parametrize("name", ["mistral-7b-8k", "qwen3-8b-32k"])
def test_the_golden_prompts_stand(store: EventStore, name: str) -> None:
    request = Request("module:validators.py")
    found = context_at(store, "task-def456", NOW, request, PROFILES[name], COVERAGE)
    text = "".join(piece.text for piece in pieces(PROFILES[name].template, found.messages))
    golden = PROMPTS / f"shop-{name}.txt"
    assert text == golden.read_text(encoding="utf-8"), "a prompt changed: look at the difference"


# Contexts

texts = st.text(max_size=40) | st.sampled_from(["🌍" * 300, "字" * 500, "x" * 5000, "\0", "a\nb"])


@settings(max_examples=60, deadline=None)
@given(
    doc=texts, goal=texts, message=texts, many=st.integers(1, 30), tokens=st.integers(1, 3000),
    name=st.sampled_from(["mistral-7b-8k", "qwen3-8b-32k"]),
)  # fmt: skip
def test_the_context_fits_whatever_it_is_made_of(
    doc: str, goal: str, message: str, many: int, tokens: int, name: str
) -> None:
    task = Task()
    task.happened(TaskStarted(goal=goal))
    body = "\n".join(f"def f{n}(x):\n    {doc!r}\n    return g(x)\n" for n in range(many))
    task.wrote("a.py", f"from b import g\n{body}")
    task.wrote("b.py", f"def g(x):\n    {message!r}\n")
    failures = ({"name": "test_f", "message": message},)
    task.happened(ChecksRan(passed=0, failed=1, module_name="a.py", failures=failures))
    task.outlined()
    profile = BOUND[name].with_context(tokens)
    try:
        found = context_at(task.store, task.id, NOW, Request("module:a.py"), profile)
    except BudgetExceededError:
        return
    assert found.tokens + found.reserve <= found.window
    told = pieces(profile.template, found.messages)
    count = UpperBound().count
    assert found.tokens == sum(1 if one.control else count(one.text) for one in told)


def test_what_was_written_and_is_stale_is_never_shown(store: EventStore) -> None:
    profile = PROFILES["qwen3-8b-32k"]
    before, after = (
        context_at(store, "task-def456", moment, Request("module:validators.py"), profile, COVERAGE)
        for moment in (Moment(position=33), NOW)
    )
    said = "Validates what people type. validate_email trims"
    assert said in before.messages[-1][1]
    assert said not in after.messages[-1][1]


def test_a_signature_is_the_sources_own_line() -> None:
    task = Task()
    task.wrote("a.py", "@wraps\nasync def f(\n    x: int = (1),\n) -> int:\n    return x\n")
    task.outlined()
    state = state_at(task.store, dependency_graph, task.id)
    piece = Sources(state, SourceLines(task.store.get)).piece("a.py", "f")
    assert piece.signature == "async def f(\n    x: int = (1),\n) -> int:"
    assert piece.text.startswith("@wraps\nasync def f(")
    assert piece.place == 1


def test_a_function_that_does_not_exist_yet_has_a_context(store: EventStore) -> None:
    target = "function:validators.py::validate_phone"
    found = context_at(store, "task-def456", NOW, Request(target), PROFILES["mistral-7b-8k"])
    assert "Work on validators.py, validate_phone." in found.messages[-1][1]
    assert EMAIL in {item.node for item in found.items}
    nowhere = context_at(
        store, "task-def456", NOW, Request("module:new.py"), PROFILES["mistral-7b-8k"]
    )
    sections = {item.section for item in nowhere.items}
    assert sections == {"related modules", "related functions", "task description"}


def test_too_small_a_window_is_told_with_both_numbers(store: EventStore) -> None:
    profile = PROFILES["mistral-7b-8k"]
    rows = dict.fromkeys(profile.rows, 0) | {"generation": 2500, "buffer": 20}
    tiny = checked(profile._replace(window=2520, rows=rows))
    with pytest.raises(BudgetExceededError, match="tokens for the required items, found"):
        context_at(store, "task-def456", NOW, Request(EMAIL), tiny)


def test_words_of_a_request_that_do_not_fit_are_said_to_be_left_out(store: EventStore) -> None:
    long = Request(EMAIL, "please " * 9000)
    found = context_at(store, "task-def456", NOW, long, PROFILES["mistral-7b-8k"])
    first = found.omissions[0]
    assert first[:3] == ("the words of the request", "task description", "over budget")
    some = context_at(
        store, "task-def456", NOW, Request(EMAIL, "ask " * 2000), PROFILES["mistral-7b-8k"]
    )
    assert "ask ask" in some.messages[-1][1]
    assert some.tokens + some.reserve <= some.window
    short = context_at(store, "task-def456", NOW, Request(EMAIL, "please"), BOUND["mistral-7b-8k"])
    assert "please" in short.messages[-1][1]
    assert "task description" not in {one.section for one in short.omissions}


def test_equal_states_give_equal_contexts(store: EventStore) -> None:
    states = states_at(store, "task-def456", NOW)
    graph = dependency_graph.graph_of(states.graph)
    builder = ContextBuilder(PROFILES["qwen3-8b-32k"], BuildCache(UpperBound(), store.get))
    first = builder.build(states, graph, Request(EMAIL))
    builder.build(states, graph, Request("module:utils.py"))
    assert builder.build(states, graph, Request(EMAIL)) == first


# Recorded contexts


def record(store: EventStore, profile: ModelProfile) -> int:
    record_context(store, "task-def456", NOW, Request(EMAIL), profile)
    return store.version("task-def456")


def test_a_recorded_context_is_rebuilt_and_derived_again(store: EventStore) -> None:
    versions = [record(store, PROFILES["qwen3-8b-32k"]), record(store, BOUND["mistral-7b-8k"])]
    verdicts = list(verified(store, "task-def456"))
    assert [verdict.version for verdict in verdicts] == versions
    assert all(verdict.holds for verdict in verdicts)


def test_what_is_shown_again_was_in_hand_and_what_is_new_was_made() -> None:
    task = Task()
    task.wrote("a.py", "from b import g\ndef f(): return g()\n")
    task.wrote("b.py", "def g(): pass\n")
    task.outlined()
    for _ in range(2):
        record_context(task.store, task.id, NOW, Request("module:a.py"), BOUND["mistral-7b-8k"])
    first, second = (e.fact for e in task.store.read(task.id, types=["CONTEXT_BUILT"]))
    assert isinstance(first, ContextBuilt)
    assert isinstance(second, ContextBuilt)
    assert "made" in {item.found for item in first.items}
    assert {item.found for item in second.items} == {"online"}
    counters = state_at(task.store, online_cache, task.id).counters
    assert counters.online >= len(second.items)
    assert counters.misses == sum(item.found == "made" for item in first.items)


def test_what_finished_tasks_left_is_found_offline_and_promoted(store: EventStore) -> None:
    for _ in range(2):
        record(store, PROFILES["mistral-7b-8k"])
    first, second = (e.fact for e in store.read("task-def456", types=["CONTEXT_BUILT"]))
    assert isinstance(first, ContextBuilt)
    assert isinstance(second, ContextBuilt)
    left = [item for item in first.items if item.found == "offline"]
    assert left
    assert {item.task for item in left} == {"task-def456"}
    assert {item.found for item in second.items} == {"online"}
    assert state_at(store, online_cache, "task-def456").counters.promotions == len(left)


def test_a_policy_may_weigh_meaning_and_what_it_chose_is_derived_again_without_the_model(
    store: EventStore,
) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'semantic'")
    policy = Policy(weights={"always": -3.0, "meaning": 6.0})
    request = Request(query="is this text an e-mail address?")
    profile = BOUND["mistral-7b-8k"]
    found = record_context(store, "task-def456", NOW, request, profile, policy)
    scores = {item.node: item.score for item in found.items}
    assert scores[EMAIL] > scores["function:utils.py::normalise"]
    *_, event = store.read("task-def456", types=["CONTEXT_BUILT"])
    assert isinstance(event.fact, ContextBuilt)
    assert len(store.get(event.fact.query_vector or "")) == 4 * 384
    assert [verdict.holds for verdict in verified(store, "task-def456")] == [True]
    with pytest.raises(InputError, match="weighs meaning, which needs an embedder"):
        ContextBuilder(profile, BuildCache(UpperBound(), store.get), policy)


def test_a_context_that_does_not_prove_itself_is_told(store: EventStore) -> None:
    record(store, PROFILES["qwen3-8b-32k"])
    *_, event = store.read("task-def456", types=["CONTEXT_BUILT"])
    assert isinstance(event.fact, ContextBuilt)
    forged = event.fact.model_copy(update={"digest": "0" * 64})
    older = event.fact.model_copy(update={"digest": "1" * 64, "code": {"builder": "0"}})
    empty = ContextBuilt(digest="2" * 64)
    store.append("task-def456", [forged, older, empty], after=event.version)
    _, first, second, third = verified(store, "task-def456")
    assert [one.rebuilt.verdict for one in (first, second)] == ["different"] * 2
    assert "by the same code" in first.derived.why
    assert second.derived.why.startswith("builder 0 -> ")
    assert third.rebuilt.verdict == third.derived.verdict == "cannot be told"


def test_a_fresh_process_derives_every_fixture_context_again_under_eight_hash_seeds() -> None:
    pytest.importorskip("mistral_common", reason="needs the extra 'mistral'")
    script = [
        sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()",
        "verify", "fixtures/logs/contexts.jsonl", "--json",
    ]  # fmt: skip
    printed = {
        subprocess.run(
            script, cwd=HERE, env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True, check=True,
        ).stdout
        for seed in range(8)
    }  # fmt: skip
    [lines] = printed
    *verdicts, _ = [json.loads(line) for line in lines.splitlines()]
    told = [(one["rebuilt"]["verdict"], one["derived"]["verdict"]) for one in verdicts]
    assert told == [("same", "same")] * 5


def test_what_an_older_builder_recorded_is_rebuilt_and_told_to_be_older() -> None:
    pytest.importorskip("mistral_common", reason="needs the extra 'mistral'")
    with EventStore.open("sqlite://") as store:
        run(store, "events", HERE / "fixtures/logs/contexts-builder-2.jsonl")
        verdicts = list(verified(store, "task-def456"))
    assert [verdict.rebuilt.verdict for verdict in verdicts] == ["same"] * 5
    assert [verdict.derived.verdict for verdict in verdicts] == ["different"] * 5
    assert all(one.derived.why.startswith("builder 2 -> 4") for one in verdicts)


def of_shop(options: tuple[str, ...]) -> tuple[str, ...]:
    """The address of the shop, at the moment that stands first, and the options."""
    at = options[0] if options[0].startswith("@") else ""
    return (f"task-def456{at}", *options[bool(at) :])


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (("--for", "module:nope.py"), "there is no nope.py at this moment"),
        (("@recorded:2000-01-01", "--query", "x"), "nothing of the code is known at this moment"),
        (("--for", EMAIL, "--query", "x " * 9000), "the words of the request do not fit"),
    ],
)
def test_what_makes_a_context_doubtful_is_said(
    options: tuple[str, ...], note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ("--store", f"sqlite:///{tmp_path}/store.db")
    for arguments in (
        ("import", "events", str(LOG), *url),
        ("context", *of_shop(options), *url),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    assert f"backcast: note: {note}" in capsys.readouterr().err


def test_what_is_no_log_is_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "some.toml").write_text("name = 1\n")
    with pytest.raises(SystemExit) as end:
        main(["verify", str(tmp_path / "some.toml")])
    assert end.value.code == 2
    told = "some.toml: needed a task, or a log whose name ends in .jsonl, found a file"
    assert told in capsys.readouterr().err


def test_a_store_in_place_of_a_task_is_told_from_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop.db"
    with EventStore.open(f"sqlite:///{shop}") as store:
        store.append("shop", [TaskStarted(goal="a shop")], after=0)
    with pytest.raises(SystemExit) as end:
        main(["verify", str(shop)])
    assert end.value.code == 2
    assert f"found a store: name it by --store {shop}, and its task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "nonsense"), "needed module:PATH or function:PATH::NAME, found 'nonsense'"),
        (("--for", EMAIL, "--profile", "gpt"), "needed a profile of mistral-7b-8k,"),
        (("--for", EMAIL, "--tokenizer", "words"), "needed mistral-v3, mistral-v1, qwen3,"),
        pytest.param(
            ("--for", EMAIL, "--tokenizer", "gguf:/none.gguf"),
            "needed a GGUF file",
            marks=needs_llama,
        ),
        (("--for", EMAIL, "--context-tokens", "0"), "needed a context of 1 token or more"),
        (("@2026-11-20", "--for", EMAIL, "--record"), "--record needs a moment by event"),
    ],
)
def test_a_wrong_request_is_one_line(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ("--store", f"sqlite:///{tmp_path}/store.db")
    for arguments in (
        ("import", "events", str(LOG), *url),
        ("context", *of_shop(options), *url),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_node_that_is_there_is_asked_for_by_its_bare_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    till = str(LOG.with_name("till.jsonl"))

    def asked(node: str) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            main(["context", till, "--for", node])
        printed = capsys.readouterr()
        return printed.out, printed.err

    for bare, kind in (("money.py", "module"), ("money.py::to_cents", "function")):
        assert asked(bare) == asked(f"{kind}:{bare}") != ("", "")
    assert "near it: 'function:money.py::to_cents'" in asked("money.py::to_cent")[1]
    assert asked("function:money.py::not_yet")[0]  # by its kind, what is not there yet


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(Exception, match="no answer"):
        Server("http://127.0.0.1:9").count("x")
    with pytest.raises(InputError, match="needed http://HOST:PORT"):
        Server("file:///etc/passwd").count("x")
