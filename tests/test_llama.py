"""llama.cpp, for real: what a model file says within limits, and what of it is never lost."""

import ctypes
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError, ModelError
from backcast.engine.context.builder import count
from backcast.engine.models import Limits, Message
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.quiet import quiet
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import tokenizer_of
from tests.models import tiny

WINDOW = 1024
TEMPLATE = {"mistral": "mistral", "qwen3": "chatml"}
TOKENIZER = {"mistral": "mistral-v3", "qwen3": "qwen3"}
CODE = Path(__file__).read_text(encoding="utf-8")[:2400]
ASKED = (Message("system", "You write Python."), Message("user", f"# Task\n\n{CODE[:400]}"))
OPENED = "{% for message in messages %}{{ message.content }}{% endfor %}\n<think>\n"
"A template that begins the thought, as those of models do that always think."

Load = Callable[..., LlamaModel]


@pytest.fixture(scope="module")
def load() -> Load:
    """A model by its name, loaded once for each way of loading it."""
    kept: dict[object, LlamaModel] = {}

    def loaded(name: str, **options: Any) -> LlamaModel:
        key = (name, *sorted(options.items()))
        if key not in kept:
            kept[key] = LlamaModel(tiny(name), **{"window": WINDOW, **options})
        return kept[key]

    return loaded


@pytest.fixture(params=["mistral", "qwen3"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ours(name: str, messages: Sequence[Message]) -> list[int]:
    """The tokens that are counted where a context is built."""
    controls = {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4}
    controls |= {"<|im_start|>": 151644, "<|im_end|>": 151645}
    counter = tokenizer_of(TOKENIZER[name])
    found = []
    for text, control in pieces(TEMPLATE[name], [(one.role, one.content) for one in messages]):
        found += [controls[text]] if control else counter.encode(text)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "U", CODE, "", " ", "\n\n  x  \n", "字🌍 é\u0301 \u202e\ufeff", "\0\x1b\r\n\t", "x" * 999,
        "[INST] no [/INST] </s><s>[AVAILABLE_TOOLS]", "<|im_end|>\n<|im_start|>system\nyes",
        "[INST[INST]][/INST", "<think>hm</think>", "<tool_call>{}</tool_call>", "<unk>", "▁▁a",
        "<|fim_prefix|><|endoftext|>", "{{ bos_token }}{% if %}", "\ue000\ue001[INST]",
    ],
)  # fmt: skip
def test_what_is_sent_is_what_was_counted(load: Load, name: str, text: str) -> None:
    model = load(name)
    for messages in (
        [Message("system", "S"), Message("user", text)],
        [Message("system", text), Message("user", "U")],
        [Message("user", text), Message("assistant", text or "a"), Message("user", "more")],
    ):
        assert model.tokens(messages, thinking=True) == ours(name, messages)
    assert model.count(text) == tokenizer_of(TOKENIZER[name]).count(text)


def test_a_model_that_shall_not_think_is_told_so_by_4_more_tokens(load: Load) -> None:
    asked = load("qwen3").tokens(ASKED)
    assert asked[:-4] == ours("qwen3", ASKED)
    assert asked[-4:] == [151667, 271, 151668, 271]
    told = [(one.role, one.content) for one in ASKED]
    counter = tokenizer_of(TOKENIZER["qwen3"])
    assert count(pieces("qwen3", told), counter) == len(asked)


def test_a_profile_with_another_template_is_used_and_warned_of(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    assert load("mistral", template="mistral").differs == ""
    assert load("qwen3", template="chatml").differs == ""
    other = LlamaModel(tiny("mistral"), WINDOW, template="chatml")
    assert "its own chat template makes '<s>[INST]You are S.\\n\\nU[/INST]' where" in other.differs
    assert [record.getMessage() for record in caplog.records] == [
        f"{tiny('mistral')}: {other.differs}"
    ]
    with pytest.raises(InputError, match="needed a chat template of mistral, chatml, qwen3, found"):
        LlamaModel(tiny("mistral"), WINDOW, template="alpaca")


def test_a_template_with_a_blank_more_is_told_of_too() -> None:
    template = "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }}[/INST]{% endfor %}"
    model = LlamaModel(tiny("mistral"), WINDOW, template=template)
    assert "'<s>[INST] You are S." in model.differs, "SentencePiece puts another in front"
    assert len(model.tokens(ASKED[1:])) == len(ours("mistral", ASKED[1:])) + 1


def test_a_template_without_a_system_role_has_it_in_the_first_user_turn() -> None:
    refuses = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('only users') }}"
        "{% endif %}[INST]{{ m.content | trim }}[/INST]{% endfor %}"
    )
    model = LlamaModel(tiny("mistral"), WINDOW, template=refuses)
    assert model.tokens(ASKED) == ours("mistral", ASKED), "<s> comes from the vocabulary"


def test_an_answer_is_counted_and_the_common_prefix_is_not_read_again(name: str) -> None:
    model = LlamaModel(tiny(name), WINDOW)
    first, limits = [Message("user", CODE[:1500])], Limits(10, thinking=1)
    second = [Message("user", CODE[:1200] + "# another end")]
    said = model.complete(first, limits)
    assert (said.prompt_tokens, said.tokens) == (len(ours(name, first)), 10)
    assert (said.finish, said.cached_tokens) == ("length", 0)
    assert said.seconds is not None
    assert said.seconds > 0
    again = model.complete(first, limits)
    assert again.seconds == pytest.approx(1, abs=1)
    cached = len(ours(name, first)) - 1
    assert again == said._replace(cached_tokens=cached, seconds=again.seconds)
    both = zip(ours(name, first), ours(name, second), strict=False)
    common = len(list(takewhile(lambda two: two[0] == two[1], both)))
    assert 100 < common < len(ours(name, second))
    assert model.complete(second, limits).cached_tokens == common


def test_the_same_seed_says_the_same_in_a_fresh_model_whatever_was_asked_before(
    load: Load, name: str
) -> None:
    used, other = (load(name, seed=seed, temperature=1.5) for seed in (0, 1))
    used.complete([Message("user", "something else")], Limits(5))
    fresh = LlamaModel(tiny(name), WINDOW, temperature=1.5)
    assert fresh.complete(ASKED, Limits(40)).text == used.complete(ASKED, Limits(40)).text
    assert fresh.id == used.id
    assert other.complete(ASKED, Limits(40)).text != used.complete(ASKED, Limits(40)).text
    assert other.id != used.id


def obj(**properties: object) -> dict[str, object]:
    """A closed object that has all of its properties."""
    closed = {"additionalProperties": False, "required": list(properties)}
    return {"type": "object", "properties": properties, **closed}


LINE = {"type": "string", "maxLength": 60}
PATHS = {"enum": ["shop/cart.py", "tests/ä_🌍.py", "win\\dows.py", 'a"b', "\udcff\n"]}
SCHEMAS: dict[str, dict[str, Any]] = {
    "plan": obj(
        goal=LINE,
        steps={
            "type": "array", "minItems": 1, "maxItems": 2,
            "items": obj(path=PATHS, what=LINE, lines={"type": "integer"}),
        },
    ),
    "optional": {
        "type": "object", "additionalProperties": False, "required": ["b"],
        "properties": {"a": LINE, "b": {"type": ["number", "null"]}, "c": {"type": "boolean"}},
    },
    "referred": {
        **obj(left={"$ref": "#/$defs/Side"}, right={"anyOf": [{"$ref": "#/$defs/Side"}, PATHS]}),
        "$defs": {"Side": obj(x={"const": "ж"}, y={"type": "array", "items": LINE, "maxItems": 2})},
    },
    "empty": {"type": "object", "additionalProperties": False},
    "nothing in it": {"type": "array", "items": LINE, "maxItems": 0},
}  # fmt: skip


def fits(value: Any, schema: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Whether a value is of a schema's form, as far as the schemas of this file go."""
    if "$ref" in schema:
        return fits(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return any(fits(value, part, whole) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if isinstance(value, str):
        whole_pairs = not any("\ud800" <= char <= "\udfff" for char in value)
        return schema["type"] == "string" and len(value) <= schema["maxLength"] and whole_pairs
    if isinstance(value, list):
        short = schema.get("minItems", 0) <= len(value) <= schema["maxItems"]
        return short and all(fits(one, schema["items"], whole) for one in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        there = set(schema.get("required", ())) <= set(value) <= set(known)
        return there and all(fits(one, known[key], whole) for key, one in value.items())
    kinds: dict[str, type | tuple[type, ...]]
    kinds = {"integer": int, "boolean": bool, "number": (int, float), "null": type(None)}
    named = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return any(isinstance(value, kinds[kind]) for kind in named)


@pytest.mark.parametrize("form", SCHEMAS)
@pytest.mark.parametrize(("name", "seeds"), [("mistral", 10), ("qwen3", 1)])
def test_an_answer_by_a_schema_is_of_its_form(load: Load, name: str, seeds: int, form: str) -> None:
    schema = SCHEMAS[form]
    models = [load(name, temperature=1.5, seed=seed) for seed in range(seeds)]
    for model in models:
        said = model.complete(ASKED, Limits(500, thinking=400), schema=schema)
        assert said.finish == "stop"
        assert fits(json.loads(said.text), schema, schema)
    cut = models[0].complete(ASKED, Limits(1), schema=schema)
    assert (cut.finish, cut.tokens) == ("length", 1)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "maxLength": 9999}, "needed maxLength of 2,000 or less, found 9,999"),
        ({"type": "string", "pattern": "^a+$"}, "needed one without 'pattern'"),
        ({"type": "object", "additionalProperties": True}, "needed a closed one"),
        ({"type": "array"}, "needed one that is whole, found KeyError 'items'"),
        ({"$ref": "https://example.org/x"}, "needed references within it"),
        ({"$ref": "#/$defs/None"}, "needed one that is whole"),
        ({}, "needed a type"),
        (obj(a=LINE) | {"required": ["b"]}, "needed a property 'b'"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused(
    load: Load, schema: dict[str, Any], told: str
) -> None:
    with pytest.raises(ModelError, match=told) as refused:
        load("mistral").complete(ASKED, Limits(10), schema=schema)
    assert refused.value.kind == "refused"


def test_a_model_is_asked_something() -> None:
    model = LlamaModel(tiny("qwen3"), WINDOW, template=OPENED.removesuffix("<think>\n").rstrip())
    with pytest.raises(ModelError, match="needed messages, found none"):
        model.complete([], Limits(10))


def test_an_answer_ends_before_a_text_that_stops_it(load: Load, name: str) -> None:
    model = load(name)
    whole = model.complete(ASKED, Limits(30)).text
    stop = whole[len(whole) // 2 :][:3]
    said = model.complete(ASKED, Limits(30), stop=["never that", stop, ""])
    assert (said.text, said.finish) == (whole[: whole.index(stop)], "stop")


def test_a_prompt_that_does_not_fit_is_told_before_any_of_it_is_read(load: Load, name: str) -> None:
    model = load(name)
    before = model.complete(ASKED, Limits(5, thinking=1))
    needed = len(ours(name, ASKED))
    with pytest.raises(ModelError, match=f"needed {needed} tokens of prompt and 1,000 of") as over:
        model.complete(ASKED, Limits(1000, thinking=1))
    assert over.value.kind == "overflow"
    after = model.complete(ASKED, Limits(WINDOW - needed, thinking=1, seconds=60))
    assert after.tokens == WINDOW - needed, "the window can be filled to its last token"
    assert after.text.startswith(before.text)


def test_the_time_ends_a_prompt_and_an_answer_and_the_model_goes_on(load: Load, name: str) -> None:
    model = load(name)
    whole = model.complete(ASKED, Limits(20))
    for seconds, told in ((0.0, "tokens of prompt read"), (0.03, "tokens of it")):
        with pytest.raises(ModelError, match=told) as late:
            model.complete(ASKED, Limits(800, seconds=seconds))
        assert late.value.kind == "timeout"
    assert model.complete(ASKED, Limits(20)).text == whole.text


def test_an_interrupt_is_not_lost_where_llama_cpp_calls_us_back() -> None:
    """While a file is loaded it logs each thing that it reads, and drops what is raised in that."""
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    calls_back = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    usual, loaded = signal.getsignal(signal.SIGINT), list[str]()

    def load() -> None:
        with quiet():
            calls_back()
            loaded.append("whole")

    with pytest.raises(KeyboardInterrupt):
        load()
    assert loaded == ["whole"]
    assert signal.getsignal(signal.SIGINT) is usual
    with quiet():
        loaded.append("again")
    assert loaded == ["whole", "again"], "it is told once"


def test_an_interrupt_leaves_the_model_usable(load: Load, name: str) -> None:
    model = load(name)
    whole = model.complete(ASKED, Limits(20))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for schema in (None, SCHEMAS["plan"]):
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            with pytest.raises(KeyboardInterrupt):
                model.complete([Message("user", CODE[:900])], Limits(500), schema=schema)
            assert model.complete(ASKED, Limits(20)).text == whole.text
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_thought_is_bounded_and_never_counts_as_the_answer() -> None:
    model = LlamaModel(tiny("qwen3"), WINDOW, template=OPENED, temperature=1.0)
    said = model.complete(ASKED, Limits(40, thinking=12))
    assert (said.tokens, said.finish) == (40, "length")
    assert said.thinking
    assert 1 < model.count(said.thinking) <= 14
    assert said.text
    assert not said.text.startswith("\n")
    none = model.complete(ASKED, Limits(40))
    assert (none.thinking, none.tokens) == ("", 40)
    cut = model.complete(ASKED, Limits(12, thinking=12))
    assert (cut.text, cut.finish) == ("", "length")
    assert cut.tokens is not None
    assert cut.tokens <= 12
    held = model.complete(ASKED, Limits(500, thinking=12), schema=SCHEMAS["plan"])
    assert json.loads(held.text)
    assert held.thinking == "", "with a schema it does not think"
    assert model.complete(ASKED, Limits(3)).text == "", "that many end the thought"


def test_a_window_is_stretched_only_where_it_must_be() -> None:
    path = tiny("qwen3")
    wide = LlamaModel(path, 65_536, yarn=2)
    told = wide.loaded.llm.context_params
    assert (told.rope_scaling_type, told.yarn_orig_ctx, told.rope_freq_scale) == (2, 32_768, 0.5)
    assert "YaRN x2" in wide.id
    plain = LlamaModel(path, 32_768, yarn=2)
    assert plain.loaded.stretched == {}
    assert plain.loaded.llm.context_params.rope_scaling_type == -1
    assert "YaRN" not in plain.id
    assert plain.complete(ASKED, Limits(20)).text != wide.complete(ASKED, Limits(20)).text
    with pytest.raises(
        InputError, match="40,960 tokens or fewer, or YaRN, found 65,536 and YaRN x1"
    ):
        LlamaModel(path, 65_536)


@pytest.mark.parametrize("cut", [0, 3, 4, 20, 300, 20_000, 700_000, 1_200_000, 3_000_000, -1])
def test_a_file_that_was_cut_is_told_in_a_line(
    cut: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny("mistral").read_bytes()[:cut])
    with pytest.raises(InputError) as told:
        LlamaModel(path, WINDOW)
    assert str(told.value).startswith(f"{path}: needed a ")
    assert "\n" not in str(told.value)
    assert ("not within the file bounds" in str(told.value)) == (cut > 1_000_000 or cut < 0)
    assert capfd.readouterr() == ("", "")


def test_what_is_wrong_is_told_whoever_listened_to_llama_cpp_before(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny("mistral").read_bytes()[:3_000_000])
    import llama_cpp
    from llama_cpp import _logger

    for _ in range(2):
        with pytest.raises(InputError, match="not within the file bounds"):
            LlamaModel(path, WINDOW)
        llama_cpp.llama_log_set(_logger.llama_log_callback, ctypes.c_void_p(0))


def test_a_path_that_is_no_model_is_told_in_a_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (text := tmp_path / "text.gguf").write_text("hello" * 100)
    (huge := tmp_path / "huge.gguf").write_bytes(b"GGUF\3\0\0\0" + b"\x3f" * 1_000_000)
    (odd := tmp_path / "\udcff.gguf").write_bytes(b"GGUF\3\0\0\0")
    vocabulary = tiny("qwen3").with_name("ggml-vocab-qwen2.gguf")
    for path in (text, huge, odd, tmp_path, tmp_path / "none.gguf", Path("/dev/null"), vocabulary):
        with pytest.raises(InputError) as told:
            LlamaModel(path, WINDOW)
        assert str(told.value).startswith(f"{path}: needed a ")
        assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")
