"""What a model in this process has read, kept under caps and taken up again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.engine.models import Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.kept_states import NO_STATES, StateCaps, StateTree
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.prefixes import shared
from tests.models import tiny

MIB = 1 << 20
LIMITS = Limits(12)
PROSE = {
    name: "\n".join(f"def {name}_{n}(x): return x * {n} + {n % 7}" for n in range(25))
    for name in "abc"
}
tokens = st.lists(st.integers(0, 2), min_size=1, max_size=8)


def asked(model: LlamaModel, name: str, question: str) -> tuple[str, int]:
    """The answer to a question about one of the sources, and the tokens that were not read."""
    said = model.complete([Message("user", f"{PROSE[name]}\n{question}")], LIMITS)
    assert said.cached_tokens is not None
    return said.text, said.cached_tokens


TALK = [(name, f"What does {name}_{n} return?") for n in range(3) for name in "abc"]
"Sources take turns, so that each prompt loses what the one before had read."


@pytest.mark.parametrize("name", ["mistral", "qwen3"])
def test_answers_with_states_that_were_taken_up_are_those_without(
    name: str, tmp_path: Path
) -> None:
    def talked(caps: StateCaps) -> list[tuple[str, int]]:
        model = LlamaModel(tiny(name), 2_048, keeps=caps)
        return [asked(model, source, question) for source, question in TALK]

    plain = talked(NO_STATES)
    kept = talked(StateCaps(memory=64 * MIB))
    on_disk = talked(StateCaps(disk=64 * MIB, folder=tmp_path / "states"))
    assert [text for text, _ in kept] == [text for text, _ in plain]
    assert [text for text, _ in on_disk] == [text for text, _ in plain]
    hits = [cached > 300 for _, cached in kept]
    assert hits == [False] * 3 + [True] * 6
    assert not any(cached > 300 for _, cached in plain)
    assert on_disk == kept
    # A later process finds them again.
    assert all(cached > 300 for _, cached in talked(
        StateCaps(disk=64 * MIB, folder=tmp_path / "states"))[1:])  # fmt: skip


def test_with_caps_of_nothing_nothing_is_kept() -> None:
    assert LlamaModel(tiny("mistral"), 1_024, keeps=StateCaps(0, 0)).loaded.states is None


def test_files_of_another_model_and_damaged_ones_are_left_alone_and_told(tmp_path: Path) -> None:
    caps = StateCaps(disk=64 * MIB, folder=tmp_path)
    model = LlamaModel(tiny("mistral"), 2_048, keeps=caps)
    first = [asked(model, *TALK[n]) for n in range(4)]
    assert model.loaded.states is not None
    files = sorted(tmp_path.glob("*.kv"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-9])
    body = bytearray(files[1].read_bytes())
    body[-9] ^= 1
    files[1].write_bytes(body)
    (tmp_path / "odd.kv").write_bytes(b"\xff\xfe\n")
    (tmp_path / "lines.kv").write_text('{"form": "backcast-state-1"}\n')
    other = LlamaModel(tiny("qwen3"), 2_048, keeps=caps)
    assert other.loaded.states is not None
    assert [note.rpartition(": ")[2] for note in other.loaded.states.notes].count(
        "it is of another model, or another window"
    ) == 3
    assert asked(other, "a", "?")[1] == 0
    again = LlamaModel(tiny("mistral"), 2_048, keeps=caps)
    assert [asked(again, *TALK[n])[0] for n in range(4)] == [text for text, _ in first]
    assert again.loaded.states is not None
    told = [note.partition(":")[0] for note in again.loaded.states.notes]
    assert {files[0], files[1], tmp_path / "odd.kv", tmp_path / "lines.kv"} <= set(map(Path, told))


def test_a_prompt_is_read_ahead_and_the_next_call_ends_that() -> None:
    model = LlamaModel(tiny("mistral"), 2_048)
    prompt = [Message("user", f"{PROSE['a']}\nWhat?")]
    count, fresh = model.warm(prompt, LIMITS)
    assert count == fresh == len(model.tokens(prompt))
    assert model.complete(prompt, LIMITS).cached_tokens == count - 1
    gone = Cancellation()
    gone.cancel()
    read, fresh = model.warm([Message("user", PROSE["b"])], LIMITS._replace(cancellation=gone))
    assert (read < 10, fresh) == (True, 0)
    assert asked(model, "c", "?")[0] == asked(LlamaModel(tiny("mistral"), 2_048), "c", "?")[0]
    model._alone.acquire()
    with pytest.raises(CallCancelledError):
        model.warm(prompt, LIMITS)


# The tree


@given(st.lists(tokens, max_size=8), st.integers(0, 40), st.integers(0, 40))
def test_states_stay_within_their_caps_and_none_is_held_twice(
    asked: list[list[int]], memory: int, disk: int
) -> None:
    tree = StateTree("m", StateCaps(memory))
    for one in asked:
        tree.keep(one, bytes(len(one)))
        assert tree.memory <= memory
        for node in tree.nodes:
            others = [other for other in tree.nodes if other is not node]
            assert all(shared(node.tokens, other.tokens) < len(node.tokens) for other in others)
    for one in asked:
        best = max((shared(node.tokens, one) for node in tree.nodes), default=0)
        found = tree.longest(one)
        assert (found[1] if found else 0) == best


def test_what_was_used_lately_and_often_stays(tmp_path: Path) -> None:
    tree = StateTree("m", StateCaps(memory=30))
    for name in range(3):
        tree.keep([name] * 10, bytes(10))
    for node in (tree.nodes[0], tree.nodes[0], tree.nodes[2]):
        assert tree.data_of(node) == bytes(10)
    tree.keep([9] * 10, bytes(10))
    assert [node.tokens[0] for node in tree.nodes] == [0, 2, 9]


def test_the_disk_has_its_own_cap(tmp_path: Path) -> None:
    tree = StateTree("m", StateCaps(memory=10, disk=25, folder=tmp_path))
    for name in range(4):
        tree.keep([name] * 10, bytes([name] * 10))
    assert (tree.memory, tree.disk) == (10, 20)
    assert len(list(tmp_path.iterdir())) == 2
    assert {tree.data_of(node) for node in tree.nodes} == {bytes([n] * 10) for n in (2, 3)}
    for file in tmp_path.iterdir():
        file.unlink()
    found = [tree.data_of(node) for node in list(tree.nodes)]
    assert found.count(None) == 1
    assert "No such file" in tree.notes[0]
