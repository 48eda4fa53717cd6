"""A module that is not there yet: its prompt says so, and shows the likest one beside it."""

from collections.abc import Iterator

import pytest

import backcast
from backcast.domain.events import SourceRead, TaskStarted
from backcast.engine.interfaces.view.notebook import NotebookContext

PIPES = '''\
import os
import typing as t

from shop.base import Transport

LIMIT = 10


class PipeTransport(Transport):
    def handle(self, request: str) -> str:
        """Send a request through a pipe, and return the response."""
        return os.popen(request).read()[:LIMIT]
'''
SOURCES = {
    "shop/base.py": "class Transport:\n    def handle(self, request: str) -> str:\n        ...\n",
    "shop/transports/pipes.py": PIPES,
    "shop/transports/colours.py": "def red(text: str) -> str:\n    return f'<{text}>'\n",
    "shop/prices.py": "def price(text: str) -> int:\n    return int(text)\n",
    "tests/test_pipes.py": "def test_pipe() -> None:\n    assert True\n",
}
QUERY = "A transport that hands a request to a function, and returns its response"
NEW = "module:shop/transports/mock.py"


@pytest.fixture
def shop() -> Iterator[backcast.Task]:
    with backcast.open("sqlite://") as store:
        read = [SourceRead(path=path, source=store.put(text)) for path, text in SOURCES.items()]
        store.append("shop", [TaskStarted(goal="a shop"), *read])
        yield store.task("shop")


def prompt(shop: backcast.Task, node: str = NEW, tokens: int = 1_000, **settings: float) -> str:
    policy = backcast.policy(**settings)
    profile = backcast.profile(prompt_tokens=tokens)
    found: NotebookContext = shop.at("last").build(node, QUERY, policy=policy, profile=profile)
    return "\n".join(text for _, text in found.messages)


def test_it_stands_beside_the_likest_module_of_its_folder_which_is_whole_where_it_fits(
    shop: backcast.Task,
) -> None:
    text = prompt(shop)
    functions = text.partition("# Functions")[2].partition("# Task")[0]
    assert functions.strip().startswith("## shop/transports/pipes.py")
    assert PIPES.strip() in functions
    assert text.count("os.popen") == 1


def test_a_large_one_is_shown_by_its_imports_and_what_is_like_the_new_one(
    shop: backcast.Task,
) -> None:
    text = prompt(shop, beside=0.001)
    functions = text.partition("# Functions")[2].partition("# Task")[0]
    assert "import typing as t\n" in functions
    assert "class PipeTransport(Transport):" in functions
    assert "LIMIT = 10" not in functions or PIPES.strip() not in functions


def test_that_it_is_new_is_said_and_of_a_known_one_it_is_not(shop: backcast.Task) -> None:
    assert "Work on shop/transports/mock.py, a new module." in prompt(shop)
    known = prompt(shop, "module:shop/transports/pipes.py")
    assert "Work on shop/transports/pipes.py.\n" in known
    assert "a new module" not in known


def test_without_a_share_for_it_none_is_shown_and_so_it_is_where_nothing_stands_beside_it(
    shop: backcast.Task,
) -> None:
    for text in (prompt(shop, beside=0), prompt(shop, "module:tools/mock.py")):
        assert "# Functions" not in text


def test_a_module_is_beside_no_test(shop: backcast.Task) -> None:
    assert "test_pipe()" not in prompt(shop, "module:tests/helpers.py")


# A new module of tests

CHECK = """\
def test_{0}_answers(client) -> None:
    reply = client.send("{0}", again=False)
    assert reply.code == 200
    assert reply.text == "{0}"


def test_{0}_refuses(client) -> None:
    with pytest.raises(ValueError):
        client.send("{0}" * 100)
"""
TESTS = {
    "tests/test_pipes.py": "def test_pipe() -> None:\n    assert True\n",
    "tests/conftest.py": "def transport(request, function, response):\n    return request\n",
    "tests/test_senders.py": "import pytest\n\n\ndef made(word):\n    return word\n\n\n"
    + "\n\n".join(CHECK.format(word) for word in ("letters", "parcels", "queues", "returns")),
}
NEW_TESTS = "module:tests/test_replies.py"
ASKED = "Tests of replies: a client that sends queues answers by code and text"


@pytest.fixture
def tested() -> Iterator[backcast.Task]:
    with backcast.open("sqlite://") as store:
        read = [
            SourceRead(path=path, source=store.put(text))
            for path, text in (SOURCES | TESTS).items()
        ]
        store.append("shop", [TaskStarted(goal="a shop"), *read])
        yield store.task("shop")


def beside(task: backcast.Task, node: str = NEW_TESTS, **settings: float) -> str:
    """What is shown of the module beside a new one, at 570 tokens."""
    profile = backcast.profile(prompt_tokens=570)
    policy = backcast.policy(beside=0.1, **settings)
    found: NotebookContext = task.at("last").build(node, ASKED, policy=policy, profile=profile)
    text = "\n".join(text for _, text in found.messages)
    return text.partition("# Functions")[2].partition("# Task")[0].strip()


def test_new_tests_stand_beside_the_tests_that_are_most_like_them(tested: backcast.Task) -> None:
    shown = beside(tested)
    assert shown.startswith("## tests/test_senders.py\nimport pytest\n")
    assert CHECK.format("queues").partition("\n\n\n")[0] in shown
    assert CHECK.format("letters").partition("\n\n\n")[2].strip() not in shown


def test_so_many_tests_are_offered_and_without_any_only_functions_are(
    tested: backcast.Task,
) -> None:
    assert beside(tested, tests_beside=1).count("def test_") == 1
    assert "def test_queues_answers" in beside(tested, tests_beside=1)
    assert "def test_" not in beside(tested, tests_beside=0)


def test_a_new_module_of_no_tests_stands_beside_none(tested: backcast.Task) -> None:
    assert "def test_" not in beside(tested, "module:tests/helpers.py")
