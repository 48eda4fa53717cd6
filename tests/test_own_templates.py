"""A model file by itself: its template, window and tokens are its own, and are recorded."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import ModelReplied
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.models import Message, chat, jinja
from backcast.engine.models.chat import PROBE, OwnTemplate, is_own, own_of, pieces_of, thinking
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.own import file_profile
from backcast.engine.models.templates import digest_of, pieces
from backcast.engine.models.threads import free_of, threads_free
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.runtime import open_runtime, profile_named
from tests.models import FOLDER, made, tiny

SPEC = Path(__file__).parents[1] / "fixtures/specs/validators.toml"
LOUD = (
    "{{ bos_token }}{% for m in messages %}[INST]{{ m.role | upper }}: {{ m.content | trim }}"
    "[/INST]{% endfor %}ANSWER:"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('only users') }}"
    "{% endif %}[INST]>> {{ m.content }}[/INST]{% endfor %}"
)
NOBODY = "{{ raise_exception('not today') }}"
BROKEN = "{% for m in messages %}{{ m.content }"
THINKS = (
    "{% for m in messages %}{{ m.content }}{% endfor %}{{ '' if enable_thinking else '[INST]' }}"
)

Make = Callable[..., Path]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A model file of random weights with a template, written once."""
    folder, kept = tmp_path_factory.mktemp("models"), dict[object, Path]()

    def one(template: str, context: int | None = None) -> Path:
        key = template, context
        if key not in kept:
            kept[key] = made(folder / f"model-{len(kept)}.gguf", template, context)
        return kept[key]

    return one


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        return (int(end.value.code or 0), *capsys.readouterr())

    return command


def facts() -> list[Any]:
    with EventStore.open(create=False) as store:
        return [event.fact for event in store.read("validators")]


def verdicts() -> set[tuple[str, str]]:
    with EventStore.open(create=False) as store:
        return {(str(one.rebuilt), str(one.derived)) for one in verified(store, "validators")}


def test_a_template_is_recorded_whole_and_prompts_are_rebuilt_by_it(
    make: Make, backcast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "moved.gguf"
    file.write_bytes(make(LOUD, 8_192).read_bytes())
    code, out, err = backcast("run", SPEC, "--model", f"llama:{file}")
    assert code == 1
    assert "failed after 4 answers" in out, err
    built = [fact for fact in facts() if isinstance(fact, ContextBuilt)]
    replies = [fact for fact in facts() if isinstance(fact, ModelReplied)]
    assert [fact.tokens for fact in built] == [fact.prompt_tokens for fact in replies]
    with EventStore.open(create=False) as store:
        [template] = {fact.template or "" for fact in built}
        held = own_of(store.get(template).decode())
    assert (held.source, held.controls) == (LOUD, ("</s>", "<s>", "[/INST]", "[INST]"))
    assert verdicts() == {("same", "same")}
    assert backcast("export", "validators", "run.jsonl")[0] == 0
    file.unlink()
    tokenizer_of.cache_clear()
    code, out, _ = backcast("verify", "run.jsonl")
    assert out.count("rebuilt: same; derived: cannot be told: ") == 4
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for kept in (jinja._compiled, chat._chat):
        kept.cache_clear()
    code, out, _ = backcast("verify", "run.jsonl", "--only", "rebuilt")
    lacking = "rebuilt: cannot be told: "
    assert out.count(lacking) == 4
    first, *others = [line for line in out.splitlines() if lacking in line]
    assert "needs the extra 'llama': pip install 'backcast[llama]'" in first
    assert all("as above" in line for line in others)


def test_a_run_goes_on_by_the_template_that_was_named(make: Make, backcast: Command) -> None:
    file = make(LOUD, 8_192)
    backcast("run", SPEC, "--model", f"llama:{file}", "--template", "mistral")
    assert {fact.template for fact in facts() if isinstance(fact, ContextBuilt)} == {"mistral"}
    runtime = open_runtime(f"llama:{file}", profile=MISTRAL_7B_8K)
    assert runtime.profile.rows == MISTRAL_7B_8K.rows
    assert own_of(runtime.profile.template).source == LOUD
    own = runtime.profile
    resumed = open_runtime(f"llama:{file}", profile=own, template=own.template)
    assert (resumed.profile, resumed.model.id) == (own, runtime.model.id)
    again = open_runtime(f"llama:{file}", profile=MISTRAL_7B_8K, template="mistral")
    assert again.profile.template == "mistral"
    other = "--store", "sqlite:///other.db"
    code, _, err = backcast("run", SPEC, "--model", f"llama:{file}", "--template", "alpaca", *other)
    assert (code, err.count("\n")) == (2, 1)
    assert "needed a chat template of mistral, chatml, qwen3 or a file in Jinja, found" in err


@pytest.mark.parametrize("template", [LOUD, NO_SYSTEM, THINKS, ""])
def test_a_prompt_is_counted_as_the_model_reads_it(make: Make, template: str) -> None:
    file = make(template, 8_192)
    profile = file_profile(str(file)).profile
    model = LlamaModel(file, 1024, threads=1)
    texts = ("S", "U"), ("", " [INST] </s> \n"), ("{{ 1 }}\n", "字🌍\ue000")
    for system, user in texts:
        messages = [Message("system", system), Message("user", user)]
        for template, thinks in ((profile.template, False), (thinking(profile.template), True)):
            counted: list[int] = []
            for text, control in pieces(template, messages):
                counted += model.loaded.encode(text, control)
            assert counted == model.tokens(messages, thinks)


def test_a_model_without_a_template_is_read_as_plain_text_and_that_is_told(make: Make) -> None:
    found = file_profile(str(make("", 8_192)))
    assert [piece.text for piece in pieces(found.profile.template, PROBE)] == [
        "<s>", "You are S.\n\nU\n\n",
    ]  # fmt: skip
    [note] = found.notes
    assert note.endswith("it has no chat template, so prompts are read as plain text")


def test_a_template_without_a_system_role_has_its_text_in_the_users_and_that_is_told(
    make: Make,
) -> None:
    found = file_profile(str(make(NO_SYSTEM, 8_192)))
    shown = "".join(piece.text for piece in pieces(found.profile.template, PROBE))
    assert shown == "<s>[INST]>> You are S.\n\nU[/INST]"
    assert ["takes no system text" in note for note in found.notes] == [True]


def test_a_window_is_the_files_own_up_to_what_is_used_unasked(make: Make) -> None:
    small = profile_named(f"gguf:{make(LOUD, 1_000)}")
    assert (small.window, sum(small.rows.values()), small.generation) == (1000, 1000, 305)
    wide = file_profile(str(make(LOUD, 100_000)))
    assert wide.profile.window == 32_768
    assert "of its window of 100,000 tokens 32,768 are used" in wide.notes[0]


@pytest.mark.parametrize(
    ("template", "context", "told"),
    [
        (NOBODY, 8_192, "takes a user's message, found one that refuses it: not today; --template"),
        (BROKEN, 8_192, "needed a chat template in Jinja: "),
        ("always the same", 8_192, "that shows a user's message, found one without"),
        (LOUD, 256, "needed a window of 512 tokens or more, found 256"),
    ],
)
def test_a_file_that_cannot_be_asked_is_told_in_a_line(
    make: Make, backcast: Command, template: str, context: int, told: str
) -> None:
    file = make(template, context)
    code, out, err = backcast("run", SPEC, "--model", f"llama:{file}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(file) in err
    assert told in err
    assert not Path("backcast.db").exists() or facts() == []


def test_a_broken_template_does_not_cost_the_model(make: Make) -> None:
    runtime = open_runtime(f"llama:{make(BROKEN, 8_192)}", template="mistral")
    assert runtime.profile.template == "mistral"
    assert open_runtime(f"llama:{make(BROKEN, 8_192)}", template=LOUD).profile.window == 8_192


def test_a_vocabulary_alone_and_a_file_that_was_cut_are_told_in_a_line(
    backcast: Command, tmp_path: Path
) -> None:
    (cut := tmp_path / "cut.gguf").write_bytes(tiny("mistral").read_bytes()[:3_000_000])
    for file in (FOLDER / "ggml-vocab-qwen2.gguf", cut, SPEC, tmp_path / "none.gguf"):
        code, out, err = backcast("run", SPEC, "--model", f"llama:{file}")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert f"{file}: needed a " in err


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ 'a' * 10 ** 9 }}",
        "{{ ('a' * 100000) * 100000 }}", "{% set n = 9 %}{{ n ** 99999999 }}",
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{{ raise_exception() }}", "{{ unknown.of.this }}",
    ],
)  # fmt: skip
def test_a_hostile_template_does_nothing_and_is_told(template: str) -> None:
    pytest.importorskip("jinja2", reason="needs the extra 'llama'")
    with pytest.raises(InputError, match="needed a chat template"):
        pieces_of(OwnTemplate(template + "{{ messages[-1].content }}").text, PROBE)


def test_a_template_knows_no_clock() -> None:
    pytest.importorskip("jinja2", reason="needs the extra 'llama'")
    dated = "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{{ m.content }}{% endfor %}"
    [piece] = pieces_of(OwnTemplate(dated).text, PROBE)
    assert piece.text == "26 Jul 2024 You are S.U"


def test_what_is_recorded_of_a_template_is_read_again_and_nothing_else() -> None:
    own = OwnTemplate("{{ 1 }}", "<s>", "</s>", ("<s>",), "<s>", True)
    assert own_of(own.text) == own
    assert is_own(own.text)
    for text in ('{"begins": 1}', '{"begins": "", "source": []}', '{"begins": "'):
        with pytest.raises(InputError, match="needed a recorded chat template, found"):
            own_of(text)
    with pytest.raises(InputError, match="needed a chat template of mistral, chatml, qwen3, found"):
        digest_of(pieces("alpaca", PROBE))


def test_threads_are_those_that_are_free_or_as_many_as_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [free_of(4, load) for load in (0.0, 0.4, 1.2, 3.0, 90.0)] == [4, 4, 3, 1, 1]
    monkeypatch.setenv("BACKCAST_THREADS", "3")
    assert threads_free() == 3
    for wrong in ("0", "many", "-1", "2000"):
        monkeypatch.setenv("BACKCAST_THREADS", wrong)
        with pytest.raises(InputError, match="BACKCAST_THREADS: needed a number of threads"):
            threads_free()
