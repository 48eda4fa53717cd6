"""A real llama-server, asked for real: by a tiny model of random weights, what it says is nonsense,
but its counts, its memory of prompts and its limits are those of any other."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backcast.domain.budget import of_window
from backcast.domain.errors import ModelError
from backcast.engine.context.prefix import compared, encoded
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.models import Limits, Message
from backcast.engine.models.llama_server import Server
from backcast.engine.models.server import ServerModel
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.runtime import open_runtime
from tests.servers import OLD_MISTRAL, QWEN_TEMPLATE, asked, llama_server, stops

HERE = Path(__file__).parents[1]
SCHEMA = {
    "type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"],
    "additionalProperties": False,
}  # fmt: skip
KINDS = {"mistral": "mistral", "qwen3": "qwen3"}
Serve = Callable[..., str]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts a llama-server, once for each set of options, until the tests are over."""
    urls: dict[tuple[str, ...], str] = {}
    with ExitStack() as running:

        def started(model: str, *options: str) -> str:
            if (model, *options) not in urls:
                folder = tmp_path_factory.mktemp("llama-server")
                server = llama_server(model, folder, *options)
                urls[model, *options] = running.enter_context(server)
            return urls[model, *options]

        yield started


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a tiny model, each in turn."""
    name: str = request.param
    return name


@pytest.fixture
def url(serve: Serve, kind: str) -> str:
    """The URL of a llama-server with it."""
    return serve(kind)


def prompt(name: str, task: str = "Repair it.", shown: int = 3) -> tuple[tuple[str, str], ...]:
    """A prompt of a few thousand tokens as the builder renders it, like no other test's."""
    paths = sorted((HERE / "domain").glob("*.py"))[:shown]
    items = [
        RenderItem(f"module:domain/{path.name}", "related modules", path.read_text())
        for path in paths
    ]
    items += [RenderItem("task:1", "task description", task)]
    order = ("related modules", "task description")
    return messages_of(items, f"You write Python for the test {name}.", order)


def told(messages: tuple[tuple[str, str], ...]) -> list[Message]:
    return [Message(*message) for message in messages]


def test_the_server_tells_its_window_and_its_template(url: str, kind: str) -> None:
    profile = Server(url).profile()
    assert (profile.window, profile.template) == (8192, KINDS[kind])
    model = ServerModel(url)
    assert (model.id, model.window) == (f"tiny-{kind}.gguf", 8192)
    assert (model.native, model.merges) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        " a",
        "  a\n",
        "def f(x):\n    return x\n",
        "\t\tx = 1\r\n",
        "🌍字",
        "x" * 99,
        "[INST]",
    ],
)
def test_the_server_counts_as_we_count_without_it(serve: Serve, text: str) -> None:
    open_runtime, ours = Server(serve("mistral")), tokenizer_of("mistral-v3")
    assert open_runtime.encode(text) == ours.encode(text)
    assert open_runtime.count(text) == ours.count(text)


def test_a_prompt_has_as_many_tokens_as_predicted(url: str, kind: str) -> None:
    rendered = prompt("counts")
    predicted = len(encoded(pieces(KINDS[kind], rendered), tokenizer_of(f"server:{url}")))
    model = ServerModel(url)
    answer = model.complete(told(rendered), Limits(4))
    assert answer.prompt_tokens == predicted == model.count(told(rendered), Limits(4))
    assert predicted > 2000


@pytest.mark.parametrize(("task", "shown"), [("Repair it!", 3), ("Test it.", 3), ("Test it.", 2)])
def test_the_server_remembers_just_the_prefix_that_was_predicted(
    url: str, kind: str, task: str, shown: int
) -> None:
    before = prompt(f"{task}{shown} prefix", shown=3)
    after = prompt(f"{task}{shown} prefix", task, shown)
    model = ServerModel(url)
    model.complete(told(before), Limits(4))
    answer = model.complete(told(after), Limits(4))
    template = KINDS[kind]
    predicted = compared(
        pieces(template, before), pieces(template, after), tokenizer_of(f"server:{url}")
    )
    assert answer.cached_tokens == predicted.tokens > 1000
    assert predicted.tokens < predicted.of


def test_of_an_equal_prompt_all_but_the_last_token_is_remembered(url: str) -> None:
    model = ServerModel(url)
    messages = told(prompt("again"))
    first, second = (model.complete(messages, Limits(4)) for _ in range(2))
    assert second.prompt_tokens == first.prompt_tokens
    # It must read one token to have something to answer from.
    # What it says then may differ in its last bits, and so in words: see --deterministic.
    assert second.cached_tokens == (first.prompt_tokens or 0) - 1


def test_a_profile_of_another_model_gives_its_rows_alone(url: str, kind: str) -> None:
    own = open_runtime(url).profile
    assert open_runtime(url, profile=own).profile == own
    tokens = {"mistral": "mistral-v3", "qwen3": "qwen3"}
    for other, tokenizer in tokens.items():
        for template in KINDS.values():
            profile = of_window("mine", 8192, tokenizer, template)
            counted = (
                tokenizer if other == kind or not tokenizer_of(tokenizer).exact else own.tokenizer
            )
            served = profile._replace(template=KINDS[kind], tokenizer=counted)
            assert open_runtime(url, profile=profile).profile == served


LOUD = (
    "{% for m in messages %}[INST]{{ m.role | upper }}: {{ m.content }}[/INST]{% endfor %}ANSWER:"
)


def test_a_template_that_is_none_of_ours_is_told_and_counted_by_its_tokens(
    serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "loud.jinja"
    file.write_text(LOUD)
    url = serve("mistral", "--chat-template-file", str(file))
    runtime = open_runtime(url)
    assert json.loads(runtime.profile.template)["controls"] == [
        "</s>",
        "<s>",
        "[/INST]",
        "[INST]",
    ]
    rendered = prompt("loud", shown=1)
    predicted = encoded(pieces(runtime.profile.template, rendered), tokenizer_of(f"server:{url}"))
    answer = runtime.model.complete(told(rendered), Limits(4))
    assert answer.prompt_tokens == len(predicted) > 50


def test_a_slot_can_be_named(url: str) -> None:
    model = ServerModel(url, slot=1)
    model.complete(told(prompt("slot", shown=2)), Limits(4))
    again = ServerModel(url, slot=0).complete(told(prompt("slot", shown=2)), Limits(4))
    assert (again.cached_tokens or 0) < 20, "what slot 1 remembers, slot 0 does not"


def test_a_deterministic_model_reads_anew_and_says_the_same(url: str) -> None:
    model = ServerModel(url, deterministic=True, sampling={"temperature": 1, "seed": 7})
    first, second = (model.complete(told(prompt("same", shown=2)), Limits(40)) for _ in range(2))
    assert first.text == second.text
    assert first.cached_tokens == second.cached_tokens == 0


def test_a_seed_decides_what_is_drawn(url: str) -> None:
    def drawn(seed: int) -> str:
        drawing = {"temperature": 1, "seed": seed, "cache_prompt": False}
        return (
            ServerModel(url, sampling=drawing)
            .complete(told(prompt("seed", shown=0)), Limits(20))
            .text
        )

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_answer_by_a_schema_is_json_of_that_form(url: str) -> None:
    answer = ServerModel(url).complete(told(prompt("schema", shown=0)), Limits(200), schema=SCHEMA)
    assert answer.finish == "stop"
    assert isinstance(json.loads(answer.text)["sure"], bool)


def test_an_answer_ends_at_its_limit_and_before_a_stop(url: str) -> None:
    model = ServerModel(url)
    whole = model.complete(told(prompt("stop", shown=0)), Limits(12))
    assert (whole.finish, whole.tokens) == ("length", 12)
    stop = whole.text[len(whole.text) // 2 :][:3]
    cut = model.complete(told(prompt("stop", shown=0)), Limits(12), stop=[stop])
    assert cut.finish == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]


def test_a_prompt_beyond_the_window_is_refused_with_both_numbers(url: str) -> None:
    with pytest.raises(ModelError, match=r"\d{4,} tokens.*8192 tokens") as error:
        ServerModel(url).complete([Message("user", "word " * 9000)], Limits(4))
    assert error.value.kind == "overflow"


def test_time_that_is_out_ends_what_the_server_generates(serve: Serve) -> None:
    url = serve("mistral")
    model = ServerModel(url, sampling={"ignore_eos": True, "temperature": 0})
    with pytest.raises(ModelError) as error:
        model.complete([Message("user", "Go on.")], Limits(8000, seconds=0.3))
    assert error.value.kind == "timeout"
    assert stops(url)


def test_an_interrupt_ends_what_the_server_generates(serve: Serve) -> None:
    url = serve("mistral")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model = ServerModel(url, sampling={"ignore_eos": True, "temperature": 0})
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.complete([Message("user", "Go on.")], Limits(8000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stops(url)


def test_a_thought_has_its_own_bound_and_an_answer_of_its_form_after_it(serve: Serve) -> None:
    if not QWEN_TEMPLATE.exists():
        pytest.skip("no template of Qwen3: scripts/install --server fetches it")
    url = serve("qwen3", "--chat-template-file", str(QWEN_TEMPLATE))
    begin = {"logit_bias": [[151667, 30.0]], "temperature": 0}  # it says <think>, and goes on so
    model = ServerModel(url, sampling=begin)
    answer = model.complete(
        told(prompt("thought", shown=0)), Limits(300, thinking=5), schema=SCHEMA
    )
    assert answer.thinking == "<think>" * 5
    assert answer.finish == "stop"
    assert isinstance(json.loads(answer.text)["sure"], bool)
    unclosed = model.complete(told(prompt("thought", shown=0)), Limits(9, thinking=100))
    assert (unclosed.text, unclosed.finish) == ("", "length")
    assert model.count(told(prompt("thought", shown=0)), Limits(9)) == 4 + (
        unclosed.prompt_tokens or 0
    )  # the empty thought by which it is told not to think


def test_a_template_without_a_system_gets_it_in_the_first_user_turn(
    serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "old.jinja"
    file.write_text(OLD_MISTRAL)
    url = serve("mistral", "--chat-template-file", str(file))
    model = ServerModel(url)
    assert model.merges
    assert Server(url).template() == "mistral"
    joined = [Message("user", "Be brief.\n\nWhy?")]
    apart = [Message("system", "Be brief."), Message("user", "Why?")]
    assert model.count(apart, Limits(4)) == model.count(joined, Limits(4))
    assert model.complete(apart, Limits(4)).prompt_tokens == model.count(joined, Limits(4))


def test_a_wrong_key_is_refused_and_never_repeated(serve: Serve) -> None:
    url = serve("mistral", "--api-key", "the-right-one", "--alias", "guarded")
    with pytest.raises(ModelError) as error:
        ServerModel(url, key="the-wrong-one").complete([Message("user", "Why?")], Limits(4))
    assert error.value.kind == "refused"
    assert "one" not in str(error.value)
    model = ServerModel(url, key="the-right-one")
    assert (model.id, model.native) == ("guarded", True)
    assert model.complete([Message("user", "Why?")], Limits(4)).tokens == 4
    assert asked(url, "/health") == {"status": "ok"}
