"""The default policy: what must be shown, and then bodies like the one asked for."""

from itertools import pairwise

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context import Context
from backcast.domain.events import ChecksRan, TaskStarted
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.loose_code import statements
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.replay.used import Used, showing
from tests.sources import Task

BOUND = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
ADDED = Request("function:clients.py::fetch_orders", "def fetch_orders(session, since):")
MENDED = Request(
    "module:orders.py", "Mend the module orders.py", ("module:orders.py", "module:test_orders.py"),
    ("money.py",),
)  # fmt: skip
FETCH = '''
def fetch_{0}(session, since):
    """All {0} since a day, page by page."""
    found = []
    for page in session.pages("/{0}", after=since):
        found.extend(page["{0}"])
    return [one for one in found if not one["deleted"]]
'''
WORDS = ("parcels", "returns", "vouchers", "letters", "invoices", "reminders", "refunds", "orders")
ORDERS = FETCH.format("orders").strip()


def history(opening: str = '"""Clients."""\nimport money\n') -> Task:
    """A project of alike functions, and of small ones with a signature as long as their body."""
    task = Task()
    task.happened(TaskStarted(goal="a shop"))
    task.wrote("clients.py", opening + "\n".join(FETCH.format(word) for word in WORDS[:-1]))
    helpers = (f"def {name}(value):\n    return value\n" for name in ("pad", "trim", "fold", "ask"))
    task.wrote("money.py", "def to_cents(text):\n    return int(100 * float(text))\n")
    task.wrote("helpers.py", "\n".join(helpers))
    task.outlined()
    return task


def mending() -> Task:
    """A run whose module failed its tests, in a project with many alike functions."""
    task = history()
    task.wrote("orders.py", f"from money import to_cents\n\n\n{ORDERS}\n")
    tests = "from orders import fetch_orders\n\n\ndef test_no_orders():\n    assert fetch_orders\n"
    task.wrote("test_orders.py", tests)
    failures = [
        {"name": f"test_{n}", "message": f"AssertionError: {n} orders", "place": f"orders.py:{n}"}
        for n in (1, 2)
    ]
    task.happened(ChecksRan(passed=0, failed=2, module_name="orders.py", failures=tuple(failures)))
    task.outlined()
    return task


def built(task: Task, request: Request, tokens: int, policy: Policy = DEFAULT) -> Context:
    profile = BOUND.with_context(tokens, 12_000)
    return context_at(task.store, task.id, NOW, request, profile, policy)


def levels(context: Context) -> dict[str, str]:
    return {item.node: item.level for item in context.items}


def bodies(context: Context) -> set[str]:
    """The words of the alike functions whose whole text stands in a context."""
    return {word for word in WORDS if FETCH.format(word).strip() in context.text}


@pytest.mark.parametrize("tokens", [600, 1_000, 1_500])
def test_bodies_like_the_one_asked_for_are_shown_and_not_signatures_of_all(tokens: int) -> None:
    task = history()
    ours, covering = (bodies(built(task, ADDED, tokens, one)) for one in (DEFAULT, COVERAGE))
    assert len(ours) > len(covering)


def test_with_room_for_all_both_policies_show_all() -> None:
    shown = [built(history(), ADDED, 6_000, one) for one in (DEFAULT, COVERAGE)]
    assert bodies(shown[0]) == bodies(shown[1]) == set(WORDS[:-1])
    small = [{node for node in levels(one) if "helpers" in node} for one in shown]
    assert small[0] == small[1] != set()


@pytest.mark.parametrize("tokens", [1_200, 1_600, 2_400, 4_800])
def test_what_a_run_mends_its_failure_tests_and_needs_come_before_what_is_alike(
    tokens: int,
) -> None:
    shown = built(mending(), MENDED, tokens)
    by_node = levels(shown)
    assert by_node["module:orders.py"] == "full"
    assert by_node["module:test_orders.py"] == "full"
    assert by_node["module:money.py"] in ("full", "signature")
    failure, other = sorted(node for node in by_node if node.startswith("failure:"))
    assert by_node[failure] == "signature"
    assert by_node[other] in ("signature", "name")
    assert [item.node for item in shown.items][-1] == "task:task"


def test_more_room_takes_nothing_of_what_a_run_must_see() -> None:
    task = mending()
    rank = {"full": 3, "summary": 2, "signature": 1, "name": 0}
    for less, more in pairwise(built(task, MENDED, tokens) for tokens in (900, 1_500, 3_000)):
        after = levels(more)
        for item in less.items:
            if item.priority == "CRITICAL" and item.node in after:
                assert rank[after[item.node]] >= rank[item.level], item.node


def test_the_last_change_of_a_module_is_shown_where_checks_ran_on_it_alone() -> None:
    task = mending()
    task.wrote("orders.py", f"from money import to_cents\n\n\n{ORDERS}  # all\n")
    task.outlined()
    request = Request("module:orders.py", "Mend it.", ("module:orders.py",))
    nodes = [set(levels(built(task, request, 3_000, one))) for one in (DEFAULT, COVERAGE)]
    assert nodes[1] - nodes[0] == {"iteration:orders.py@2"}
    checked = DEFAULT.model_copy(update={"checked": False})
    assert "iteration:orders.py@2" in levels(built(task, request, 3_000, checked))


def test_a_function_that_is_changed_is_shown_in_full() -> None:
    task = history()
    target = "function:clients.py::fetch_letters"
    assert levels(built(task, Request(target, "skip what is deleted"), 700))[target] == "full"


# The lines above the first definition


def opened(opening: str, *, in_order: bool = True, **more: object) -> str:
    """What is shown of a module's opening lines; not `in_order` as before the whole header was."""
    request = Request("function:clients.py::fetch_orders")
    small = DEFAULT.small.model_copy(update=more)
    policy = DEFAULT.model_copy(update={"small": small, "around": 0.0, "in_order": in_order})
    [item] = [
        item
        for item in built(history(opening), request, 6_000, policy).items
        if item.node == "module:clients.py"
    ]
    return item.text


@pytest.mark.parametrize("before", ["", "\n", "\n\n\n", "# One.\n"])
def test_what_stands_in_no_function_is_shown_but_for_texts(before: str) -> None:
    opening = f'{before}"""Clients."""\nimport money\n\nPAGE = 100\n'
    assert opened(opening) == "import money\nPAGE = 100"


def test_loose_lines_that_are_too_long_keep_what_is_of_the_project_and_near() -> None:
    opening = (
        f'"""{"Long. " * 80}"""\nimport {", ".join("abcdefghij" * 9)}\nimport money\n\nPAGE = 1\n'
    )
    assert opened(opening, in_order=False, module_tokens=200) == "import money\nPAGE = 1"
    table = "".join(f"ROW_{n} = {n}\n" for n in range(2_000))
    text = opened(f'"""Rows."""\nimport money\n{table}', in_order=False, module_tokens=200)
    assert text.endswith("ROW_1998 = 1998\nROW_1999 = 1999")
    assert 100 < UpperBound().count(text) <= 200
    assert text.split("\n")[1] in table.split("\n")


def test_imports_that_the_lines_around_use_go_first_where_not_all_fit() -> None:
    unused = "".join(f"from library.part_{n} import thing_{n}\n" for n in range(60))
    used = "from collections import deque\n"
    around = "".join(f"def take_{n}(all):\n    return deque(all, {n})\n\n\n" for n in range(4))
    task = Task()
    task.wrote("queues.py", f"{used}{unused}\n\n{around}")
    task.outlined()
    texts = []
    for policy in (DEFAULT, DEFAULT.model_copy(update={"used_imports": False})):
        items = built(task, Request("function:queues.py::take_4"), 2_000, policy).items
        texts += [item.text.split("\n") for item in items if item.node == "module:queues.py"]
    with_used, nearest = texts
    assert with_used[0] == used.strip()
    assert with_used[with_used.index("# ... more imports") - 1].startswith("from library.part_")
    assert used.strip() not in nearest
    assert "# ... more imports" not in nearest


def test_a_constant_of_the_opening_lines_is_shown_once() -> None:
    task = history('"""Clients."""\nPAGE = 100\n')
    shown = built(task, Request("function:clients.py::fetch_orders"), 6_000)
    assert shown.text.count("PAGE = 100") == 1
    [page] = [one for one in shown.omissions if one.node == "attribute:clients.py::PAGE"]
    assert (page.section, page.reason) == ("related functions", "duplicate")
    assert showing(shown)(Used("symbol", page.node))
    assert not showing(shown)(Used("symbol", "attribute:clients.py::MOST"))


def test_a_module_without_room_for_a_line_is_shown_by_less() -> None:
    text = opened("import money\n", module_tokens=0)
    assert "def fetch_parcels(session, since):" in text.split("\n")
    assert "import money" not in text


def test_a_module_that_does_not_parse_has_no_loose_lines() -> None:
    assert statements("from shop import (\n    till,") == ()


# The body that is first by the request's words

LONG = '''
def refund_all(ledger, orders):
    """Refund orders: each entry of the ledger is refunded once."""
    refunded = []
    for order in orders:
        for entry in ledger.entries(order):
            if entry.kind == "refund" and not entry.closed:
                refunded.append(ledger.refund(order, entry.amount))
                ledger.close(entry, reason="refund")
            elif entry.kind == "charge" and entry.amount:
                refunded.append(ledger.refund(order, entry.amount))
            ledger.note(order, entry)
    return [refund for refund in refunded if refund.amount]
'''
SHORT = "def refund_{0}(ledger, orders):\n    return ledger.refund(orders, '{0}')\n"
REFUND = Request(
    "function:desk.py::refund_some",
    "def refund_some(ledger, orders):\n    refund orders: each entry of the ledger",
)


def refunds(**settings: float) -> dict[str, str]:
    """At which levels functions of the ledger are shown, at 1,000 tokens."""
    task = Task()
    task.happened(TaskStarted(goal="a shop"))
    task.wrote("ledger.py", LONG.lstrip())
    task.wrote("desk.py", "\n\n".join(map(SHORT.format, WORDS)))
    task.outlined()
    return levels(built(task, REFUND, 1_000, DEFAULT.model_copy(update=settings)))


def test_the_body_that_is_first_by_the_words_is_shown_though_shorter_ones_are_alike() -> None:
    first = "function:ledger.py::refund_all"
    assert refunds(first=0.0)[first] == "signature"
    assert refunds(first=0.8)[first] == "full"


def test_a_first_body_over_its_share_of_the_context_is_shown_as_any_other() -> None:
    assert refunds(first=0.3) == refunds(first=0.0)


# What the lines around the place hold in part


def around_refunds(tokens: int, *, once: bool) -> Context:
    """A context for a new function behind a long one that is like it."""
    task = Task()
    task.happened(TaskStarted(goal="a shop"))
    others = "\n\n".join(map(SHORT.format, [*WORDS, *"abcdefgh"]))
    task.wrote("desk.py", f"{others}\n\n{LONG.lstrip()}\n\n\ndef last():\n    return 1\n")
    task.outlined()
    request = REFUND._replace(behind="refund_all")
    policy = DEFAULT.model_copy(update={"once": once, "around": 0.2, "whole": 0.0})
    return built(task, request, tokens, policy)


def test_no_function_stands_twice_once_whole_and_once_in_part() -> None:
    line, twice = "                ledger.close(entry, reason=", 0
    for tokens in range(1_400, 3_400, 200):
        before, after = (around_refunds(tokens, once=once) for once in (False, True))
        twice += before.text.count(line) == 2
        assert after.text.count(line) <= 1
        assert LONG.strip() in after.text or LONG.strip() not in before.text
        critical = [
            {(item.node, item.level) for item in one.items if item.priority == "CRITICAL"}
            for one in (before, after)
        ]
        assert critical[0] == critical[1]
    assert twice, "there is something to mend"
