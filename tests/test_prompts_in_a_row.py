"""However a task goes on, each prompt fits, shows nothing twice and can be derived again."""

from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BudgetExceededError
from backcast.domain.events import CheckFailure, ChecksRan
from backcast.domain.moment import NOW
from backcast.domain.node import name_of, path_of
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.prefix import encoded
from backcast.engine.context.recorded import messages, record_context
from backcast.engine.context.request import Request
from backcast.engine.models.prefixes import shared
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.replay.verify import verified
from tests.sources import Task

PATHS = ("a.py", "b.py", "test_a.py")
PARTS = (
    "from b import one, C\n",
    "import a\n",
    "LIMIT = (\n    64,\n)\n",
    "def one(x):\n    return C().large(x)\n\n\n",
    'def two(x):\n    """Told."""\n    return one(x) + LIMIT\n\n\n',
    "class C:\n    def large(self, x):\n        return self.small(x) * 1000\n\n"
    "    def small(self, x):\n        return x\n\n\n",
    "class C:\n    def large(self, x):\n        return x\n\n\n",
    "def test_one():\n    assert one(1)\n\n\n",
)
TARGETS = ("", "module:a.py", "function:a.py::one", "function:a.py::C", "method:b.py::C.large",
           "function:b.py::new", "module:new.py")  # fmt: skip
texts = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
turns = st.lists(
    st.tuples(st.sampled_from(PATHS), st.none() | texts, st.booleans()), min_size=2, max_size=5
)
policies = st.sampled_from(
    [
        DEFAULT,
        DEFAULT.model_copy(update={"keep": False}),
        DEFAULT.model_copy(update={"shares": {"dependencies": 1}}),
        DEFAULT.model_copy(update={"worth": dict.fromkeys(DEFAULT.worth, 1.0)}),
        DEFAULT.model_copy(update={"order": DEFAULT.order[::-1]}),
    ]
)
COUNTER = UpperBound()


def turned(task: Task, path: str, source: str | None, *, fails: bool) -> None:
    """A module gets another text or goes away, and its checks run."""
    if source is None:
        task.deleted(path)
    else:
        task.wrote(path, source)
    task.outlined()
    told = (CheckFailure(name="test_one", message="AssertionError: 1"),) if fails else ()
    task.happened(ChecksRan(passed=1, failed=len(told), module_name=path, failures=told))


def shown_twice(context: Context) -> list[str]:
    """The items whose text stands in the full text of another."""
    whole = {item.node.partition(":")[2] for item in context.items if item.level == "full"}
    outer = {
        item.node: f"{path_of(item.node)}::{name_of(item.node).rpartition('.')[0]}"
        for item in context.items
        if "." in name_of(item.node)
    }
    return [node for node, around in outer.items() if around in whole]


@settings(max_examples=40)
@given(
    turns=turns, target=st.sampled_from(TARGETS), other=st.sampled_from(TARGETS), policy=policies,
    tokens=st.integers(20, 700), name=st.sampled_from(["mistral-7b-8k", "qwen3-8b-32k"]),
)  # fmt: skip
def test_each_prompt_fits_shows_nothing_twice_and_is_derived_again(
    turns: list[tuple[str, str | None, bool]], target: str, other: str, policy: Policy,
    tokens: int, name: str,
) -> None:  # fmt: skip
    task = Task()
    profile = PROFILES[name]._replace(tokenizer="upper-bound").with_context(tokens)
    for path, source, fails in turns:
        turned(task, path, source, fails=fails)
        with suppress(BudgetExceededError):
            for asked in (target, target, other)[: 3 if fails else 1]:
                found = record_context(task.store, task.id, NOW, Request(asked), profile, policy)
                assert found.tokens + found.reserve <= found.window
                assert COUNTER.count(found.text) <= tokens
                assert shown_twice(found) == []
    facts = [e.fact for e in task.store.read(task.id, types=["CONTEXT_BUILT"])]
    assert all(verdict.holds for verdict in verified(task.store, task.id))
    prompts = [
        encoded(pieces(fact.template or "", messages(fact, task.store.get)), COUNTER)
        for fact in facts
        if isinstance(fact, ContextBuilt)
    ]
    told = [fact.shared_prefix for fact in facts if isinstance(fact, ContextBuilt)]
    assert told[1:] == [shared(*pair) for pair in pairwise(prompts)]
