"""A run whose server, or model, reads what its prompts begin with before they are asked."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.call_events import PrefixWarmed
from backcast.domain.spending import Allowance
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.models.kept_states import MIB, StateCaps
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.server import ServerModel
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from backcast.projections import prefixes
from tests.models import tiny
from tests.servers import FINE, Handler, Hostile, hostile

PROFILE = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
NAMES = ("a", "b", "c")
BASE = "\n\n".join(
    f'def base_{n}() -> int:\n    """Return {n}."""\n    return {n}' for n in range(10)
)


def spec_of(*, apart: bool = False) -> Spec:
    """Three modules that need one base, or that stand apart, each with a test."""
    names = NAMES if apart else ("base", *NAMES)
    modules = [
        SpecModule(path=f"{name}_part.py", purpose=f"part {name}", tests=(f"test_{name}.py",),
                   dependencies=() if apart or name == "base" else ("base_part.py",))
        for name in names
    ]  # fmt: skip
    tests = [Test(path=f"test_{name}.py", source=f"import {name}_part\n") for name in names]
    return Spec(
        task="parts", goal="write parts", modules=tuple(modules), tests=tuple(tests),
        limits=RunLimits(iterations=2, seconds=30.0),
    )  # fmt: skip


def checks(files: Mapping[str, bytes], tests: Sequence[str], _: SandboxLimits) -> Outcome:
    time.sleep(0.1)
    return Outcome(len(tests), 0, 0, (), b"", 0.0, (), {}, {})


class Slots:
    """What a llama-server with four slots says, which knows nothing of their contents."""

    def __init__(self, cached: int, slow: float = 0.0) -> None:
        self.cached, self.slow = cached, slow
        self.paths: list[str] = []
        self.chats: list[int | None] = []

    def __call__(self, request: Handler) -> object:
        self.paths.append(request.path)
        request.say(self._answer(request))
        return None

    def _answer(self, request: Handler) -> object:
        if request.path == "/apply-template":
            return {"prompt": "".join(one["content"] for one in request.body["messages"])}
        if request.path == "/completion":
            time.sleep(self.slow)
            return {"timings": {"cache_n": 10, "prompt_n": 790}}
        if request.path.startswith("/slots"):
            return {}
        self.chats.append(request.body.get("id_slot"))
        asked = request.body["messages"][-1]["content"]
        name = next((n for n in ("base", *NAMES) if f"```python {n}_part.py" in asked), "")
        code = f'def {name}() -> str:\n    """Say."""\n    return "{name}"'
        code = BASE if name == "base" else code
        said = f"```python {name}_part.py\n{code}\n```" if name else "{}"  # no summary either
        message = {"role": "assistant", "content": said}
        return FINE | {
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 900, "completion_tokens": 40},
            "timings": {"cache_n": self.cached},
        }


@contextmanager
def server(slots: Slots) -> Iterator[ServerModel]:
    with hostile(slots) as served:
        assert isinstance(served, Hostile)
        model = ServerModel(f"{served.url}/v1")
        model.native, model.slots = True, 4
        yield model


def ran(store: EventStore, runtime: Runtime, spec: Spec) -> list[PrefixWarmed]:
    start(store, spec)
    assert work(store, "parts", runtime, checks=checks).status == "complete"
    assert all(verdict.holds for verdict in verified(store, "parts"))
    facts = [event.fact for event in store.read("parts", types=["PREFIX_WARMED"])]
    return [fact for fact in facts if isinstance(fact, PrefixWarmed)]


def test_a_wave_whose_prompts_show_one_base_has_that_read_once_and_copied() -> None:
    slots = Slots(cached=850)
    with server(slots) as model, EventStore.open("sqlite://") as store:
        runtime = Runtime(model, "served", PROFILE, concurrency=4)
        [fact] = ran(store, runtime, spec_of())
        assert (fact.tokens, fact.fresh, fact.copies, fact.reason) == (800, 790, 2, None)
        assert len(fact.meant_for) == 3
        assert sorted(slot for slot in slots.chats if slot is not None) == [0, 1, 2]
        assert [path for path in slots.paths if path.startswith("/slots")] == [
            "/slots/0?action=save", "/slots/1?action=restore", "/slots/2?action=restore",
        ]  # fmt: skip
        state: prefixes.State = state_at(store, prefixes, "parts")
        [warm] = [state.warmed[version] for version in state.warmed]
        assert (warm.used, warm.saved) == (3, 2_400)
        assert (state.hits, state.misses, state.untold) == (4, 0, 0)
        assert prefixes.sums([warm]) == (1, 1, 790, 2_400, warm.seconds)


def test_what_the_server_did_not_have_was_not_used_whatever_was_read() -> None:
    with server(Slots(cached=20)) as model, EventStore.open("sqlite://") as store:
        ran(store, Runtime(model, "served", PROFILE, concurrency=4), spec_of())
        state: prefixes.State = state_at(store, prefixes, "parts")
        [warm] = [state.warmed[version] for version in state.warmed]
        assert (warm.used, warm.saved, state.hits, state.misses) == (0, 0, 0, 4)


def test_a_run_that_is_to_warm_nothing_asks_for_nothing_but_answers() -> None:
    slots = Slots(cached=0)
    with server(slots) as model, EventStore.open("sqlite://") as store:
        assert (
            ran(store, Runtime(model, "s", PROFILE, concurrency=4, warming="no"), spec_of()) == []
        )
        assert set(slots.paths) == {"/v1/chat/completions"}
        assert set(slots.chats) == {None}


def test_the_same_prompts_are_asked_with_and_without_it() -> None:
    digests = []
    for warming in ("no", "shared", "ahead"):
        with server(Slots(cached=0)) as model, EventStore.open("sqlite://") as store:
            runtime = Runtime(model, "s", PROFILE, concurrency=1, warming=warming)
            ran(store, runtime, spec_of())
            built = store.read("parts", types=["CONTEXT_BUILT"])
            digests.append([event.fact.data["digest"] for event in built])
    assert digests[0] == digests[1] == digests[2]


def test_while_checks_run_the_next_module_is_read_into_another_slot() -> None:
    slots = Slots(cached=850)
    with server(slots) as model, EventStore.open("sqlite://") as store:
        facts = ran(store, Runtime(model, "s", PROFILE, warming="ahead"), spec_of(apart=True))
        assert [fact.ahead for fact in facts] == ["b_part.py", "c_part.py"]
        assert [len(fact.meant_for) for fact in facts] == [1, 1]
        # Each call is read by the slot that read ahead for it.
        assert slots.chats[1:] == [fact.slot for fact in facts]
        assert slots.chats[0] != slots.chats[1]
        state: prefixes.State = state_at(store, prefixes, "parts")
        assert [state.warmed[version].used for version in sorted(state.warmed)] == [1, 1]


def test_what_is_read_ahead_is_told_once_its_call_comes_though_summaries_come_before_it() -> None:
    slots = Slots(cached=850)
    spec = spec_of(apart=True).model_copy(update={"summaries": "model"})
    with server(slots) as model, EventStore.open("sqlite://") as store:
        facts = ran(store, Runtime(model, "s", PROFILE, warming="ahead"), spec)
        assert [fact.ahead for fact in facts] == ["b_part.py", "c_part.py"]
        begun = {event.version: event.fact.data for event in store.read("parts")}
        meant = [begun[call] for fact in facts for call in fact.meant_for]
        assert [(one["kind"], one["module_name"]) for one in meant] == [
            ("code", "b_part.py"), ("code", "c_part.py"),
        ]  # fmt: skip
        kinds = [one.data["kind"] for one in (e.fact for e in store.read("parts",
                 types=["STEP_STARTED"]))]  # fmt: skip
        assert kinds.count("summary") > 2


def test_what_was_read_for_a_call_that_never_comes_is_told_as_unused() -> None:
    def fails(files: Mapping[str, bytes], tests: Sequence[str], _: SandboxLimits) -> Outcome:
        time.sleep(0.1)
        return Outcome(0, 1, 0, (), b"", 0.0, (), {}, {})

    with server(Slots(cached=850)) as model, EventStore.open("sqlite://") as store:
        start(store, spec_of(apart=True))
        runtime = Runtime(model, "s", PROFILE, warming="ahead")
        assert work(store, "parts", runtime, checks=fails).status == "failed"
        facts = [event.fact for event in store.read("parts", types=["PREFIX_WARMED"])]
        assert [fact.data["ahead"] for fact in facts] == ["b_part.py"] * 2
        state: prefixes.State = state_at(store, prefixes, "parts")
        assert [state.warmed[version].used for version in sorted(state.warmed)] == [0, 0]


def test_a_call_that_comes_ends_what_is_being_read() -> None:
    slots = Slots(cached=0, slow=3.0)
    with server(slots) as model, EventStore.open("sqlite://") as store:
        began = time.monotonic()
        facts = ran(store, Runtime(model, "s", PROFILE, warming="ahead"), spec_of(apart=True))
        assert time.monotonic() - began < 6
        assert [fact.tokens for fact in facts] == [None, None]
        assert {fact.reason for fact in facts} == {"a call came before it was read"}


def test_under_a_budget_nothing_is_read_ahead() -> None:
    slots = Slots(cached=0)
    with server(slots) as model, EventStore.open("sqlite://") as store:
        runtime = Runtime(model, "s", PROFILE, warming="ahead", budget=Allowance(calls=20))
        assert ran(store, runtime, spec_of(apart=True)) == []
        assert "/completion" not in slots.paths


def test_in_process_the_next_prompt_is_read_beside_the_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = LlamaModel(tiny("mistral"), 8_192, template="mistral", keeps=StateCaps(64 * MIB))
    real = model.complete

    def complete(*arguments: object, **named: object) -> object:
        [messages, limits] = arguments
        said = real(messages, limits._replace(max_tokens=2))  # type: ignore[arg-type,attr-defined]
        name = named["call"].module.partition("_")[0]  # type: ignore[attr-defined]
        return said._replace(text=f'```python {name}_part.py\ndef {name}():\n    """Say."""\n```',
                             finish="stop")  # fmt: skip

    monkeypatch.setattr(model, "complete", complete)
    profile = MISTRAL_7B_8K._replace(tokenizer="mistral-v1")
    with EventStore.open("sqlite://") as store:
        facts = ran(store, Runtime(model, "own", profile, warming="ahead"), spec_of(apart=True))
        assert [fact.ahead for fact in facts] == ["b_part.py", "c_part.py"]
        state: prefixes.State = state_at(store, prefixes, "parts")
        assert all(fact.tokens and fact.fresh for fact in facts)
        # It is the very prompt that comes, with the code that was being checked.
        assert [state.warmed[version].used for version in sorted(state.warmed)] == [1, 1]
        replies = [event.fact.data for event in store.read("parts", types=["MODEL_REPLIED"])]
        had = [(reply["prompt_tokens"], reply["cached_tokens"] + 1) for reply in replies[1:]]
        assert had == [(fact.tokens, fact.tokens) for fact in facts]
