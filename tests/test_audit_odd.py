"""A life is told as far as a log tells it, however odd the log."""

from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Claim,
    ModuleIteration,
    ModuleOutlined,
    SourceRead,
    TaskStarted,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import Moment
from backcast.engine.history.staleness import stale
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.audit import assembled, gathered, life_of
from backcast.engine.replay.audit.occurrences import Life
from tests.lives import CART, CLEAN, at, life, told
from tests.sources import Task
from tests.strategies import NOON, iteration


def test_a_summary_of_what_the_log_never_held_is_stale_from_its_beginning() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    node, built = "module:cart.py", {"gone.py": {"": "the digest of nothing"}}
    written = task.happened(SummaryWritten(node=node, text="x", built_from=built))
    found = at(life(task.store, node), written, "stale")
    assert found.details == "stale, by what the log does not tell any more (see 'backcast fsck')"


def test_a_version_whose_outline_is_missing_is_told_as_not_known() -> None:
    task = Task()
    for number in range(4):
        task.wrote("cart.py", f"{CART}\n    X = {number}\n")
        task.outlined()
    events = list(task.store.read(task.id))
    [_, lost, *_] = [e.version for e in events if isinstance(e.fact, ModuleOutlined)]
    left = [event for event in events if event.version != lost]
    node = "function:cart.py::clean"
    found = assembled(gathered(left, node), node, None, lambda event: None)
    # Each later outline is the difference to the one before it.
    assert [one.what for one in found.occurrences] == ["recorded", "unknown", "unknown", "unknown"]
    assert found.standing.state == "there"


def test_an_outline_by_another_outliner_changes_nothing() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    second = task.wrote("cart.py", CART + "\n    X = 1\n")
    task.outlined()
    [*_, told_last] = [e for e in task.store.read(task.id) if isinstance(e.fact, ModuleOutlined)]
    other = {"sig:clean": ("function", "told by another"), "body:clean": ("other", "1")}
    assert isinstance(told_last.fact, ModuleOutlined)
    source = told_last.fact.source
    fact = ModuleOutlined(module_name="cart.py", source=source, outliner="other 1", set=other)
    claim = Claim(fact, NOON, "outliner", (second,))
    task.store.append(task.id, [claim], after=task.store.version(task.id))
    assert told(task.store, "function:cart.py::clean") == [(1, "recorded")]


def of_events(events: list[WorkflowEvent], node: str = CLEAN) -> Life:
    return assembled(gathered(events, node), node, None, lambda event: None)


def test_outlines_may_be_recorded_in_any_order() -> None:
    task = Task()
    for name in ("text", "words", "words", "others"):
        task.wrote("cart.py", CART.replace("text", name))
        task.outlined()
    events = list(task.store.read(task.id))
    outlines = [event for event in events if isinstance(event.fact, ModuleOutlined)]
    late = [event for event in events if event not in outlines] + outlines[::-1]
    assert of_events(late) == of_events(events)
    assert [one.what for one in of_events(late).occurrences] == ["recorded", "changed", "changed"]


def told_of(task: Task, version: int, facets: dict[str, tuple[str, ...]], **more: str) -> None:
    """Record an outline by hand, because of a version of a module."""
    fact = ModuleOutlined(module_name="cart.py", outliner="by-hand 1", set=facets, **more)
    claim = Claim(fact, NOON, "outliner", (version,))
    task.store.append(task.id, [claim], after=task.store.version(task.id))


def test_how_often_a_text_has_changed_is_no_change_of_it() -> None:
    task = Task()
    refs = [Blob(body).ref for body in (b"1", b"2", b"3")]
    for number, (ref, body) in enumerate(zip(refs, ("aa 1", "aa 2", "bb 3"), strict=True), 1):
        version = task.happened(iteration("cart.py", number, source=ref))
        facets = {"sig:clean": ("function", ""), "body:clean": tuple(body.split())}
        told_of(task, version, facets, source=ref)
    assert [what for _, what in told(task.store, CLEAN)] == ["recorded", "changed"]


def test_an_outline_of_another_text_is_not_believed() -> None:
    task = Task()
    version = task.happened(iteration("cart.py", 1, source=Blob(b"1").ref))
    told_of(task, version, {"sig:clean": ("function", "")}, source=Blob(b"2").ref)
    assert told(task.store, CLEAN) == []


def test_a_function_is_no_constant() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    assert told(task.store, "attribute:cart.py::clean") == []


def test_a_text_that_is_read_again_is_no_new_version() -> None:
    task = Task()
    blob = Blob(b"def clean(text): pass\n")
    first = task.happened(SourceRead(path="cart.py", source=blob.ref), blob)
    task.happened(SourceRead(path="cart.py", source=blob.ref))
    assert told(task.store, "module:cart.py") == [(first, "recorded")]


def failing(*failures: CheckFailure) -> ChecksRan:
    return ChecksRan(passed=1, failed=len(failures), module_name="cart.py", failures=failures)


def test_only_the_code_in_whose_lines_it_was_raised_fails() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    [above, below] = (
        task.happened(failing(CheckFailure(name="t", at=f"cart.py:{line}"))) for line in (7, 10)
    )
    assert told(task.store, "method:cart.py::Cart.total") == [
        (1, "recorded"), (above, "failed"), (below, "mended"),
    ]  # fmt: skip
    assert told(task.store, CLEAN) == [(1, "recorded"), (below, "failed")]
    assert [event for event, what in told(task.store, "module:cart.py") if what == "failed"] == [
        above,
        below,
    ]


def test_lines_of_what_cannot_be_parsed_are_nobodys() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.wrote("cart.py", "def (\n" + CART.replace("\n    ", "\n"))
    task.outlined()
    task.happened(failing(CheckFailure(at="cart.py:10")))
    assert told(task.store, CLEAN) == [(1, "recorded")]


def test_the_life_of_a_task_is_not_that_of_another() -> None:
    task = Task()
    task.happened(TaskStarted(goal="sell"))
    task.happened(ChecksRan(passed=0, failed=1))
    assert told(task.store, "task:other") == []
    assert told(task.store, "task:task") == [(1, "recorded"), (2, "failed")]


def test_what_fails_again_is_another_failure() -> None:
    task = Task()
    first = task.happened(failing(CheckFailure(name="t")))
    other = task.happened(failing(CheckFailure(name="u"), CheckFailure(name="t")))
    [again] = [o for o in life(task.store, f"failure:{first}.1").occurrences if o.what == "failed"]
    assert (again.event, again.details) == (other, f"as failure:{other}.2")


def test_the_failure_of_a_tool_is_over_when_the_same_tool_is_called_again() -> None:
    task = Task()
    first = task.happened(ToolReturned(tool="ls", failed=True, message="no such folder"))
    task.happened(ToolReturned(tool="cat"))
    assert told(task.store, f"failure:{first}.1") == [(first, "recorded")]
    over = task.happened(ToolReturned(tool="ls"))
    assert told(task.store, f"failure:{first}.1") == [(first, "recorded"), (over, "mended")]


def test_an_iteration_ends_with_its_module_and_may_come_back() -> None:
    task = Task()
    first = task.happened(iteration("cart.py", 1))
    gone = task.deleted("cart.py")
    back = task.happened(iteration("cart.py", 1))
    assert told(task.store, "iteration:cart.py@1") == [
        (first, "recorded"), (gone, "superseded"), (back, "back"),
    ]  # fmt: skip


def test_a_summary_that_came_too_late_was_stale_from_its_beginning() -> None:
    task = Task()
    begun = task.wrote("cart.py", CART)
    changed = task.wrote("cart.py", CART.replace("strip", "lower"))
    task.outlined()
    facets = {"names": "", "body:clean": "of the first text"}
    fact = SummaryWritten(node=CLEAN, text="x", built_at=begun, built_from={"cart.py": facets})
    written = task.happened(fact)
    found = at(life(task.store, CLEAN), written, "stale")
    assert found.details == f"stale since event {changed}: cart.py=2, path cart.py"


def test_where_the_log_contradicts_itself_the_summaries_that_hold_are_those_of_stale() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    task.happened(SummaryWritten(node=CLEAN, text="x", built_from={"cart.py": {"doc:clean": ""}}))
    task.happened(SummaryWritten(node=CLEAN, text="y", summariser="by-hand 1",
                                 built_from={"cart.py": {"": "e30ad851467f3df0"}}))  # fmt: skip
    task.deleted("cart.py")
    # It is there again, and nobody knows its text.
    task.happened(ModuleIteration(module_name="cart.py", iteration=2))
    assert stale(task.store, task.id, Moment()) == []
    assert life_of(task.store, task.id, CLEAN, Moment()).standing.holding == 2
