"""A context at a commit shows the map of the runs up to it, though that was made later."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

import backcast
from backcast.engine.history.branches import fork, lineage_of
from backcast.engine.history.maps import map_of_runs
from backcast.engine.history.moments import moment_at
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run as imported
from tests.sources import SHOP
from tests.test_git import Repository
from tests.test_mapping import VERSIONS

Backcast = Callable[..., tuple[str, str, int]]
COUNTED = ("--tokenizer", "upper-bound")
TAXED = "def total(cart: Cart, tax: int) -> int"


@pytest.fixture
def mapped(tmp_path: Path, backcast: Backcast) -> tuple[str, list[str]]:
    """A store with a history of three versions of one module, whose map was made at the end; gives
    its address and the commits. The second and the third have one time."""
    repository = Repository(tmp_path / "repo")
    for path in ("utils.py", "constants.py"):
        repository.write(path, dedent(SHOP[path]))
    shas = []
    for number, source in enumerate(VERSIONS):
        repository.write("cart.py", dedent(source))
        repository.clock -= 60 * (number == 2)
        shas.append(repository.commit(f"version {number}"))
    url = f"sqlite:///{tmp_path}/repo.db"
    with EventStore.open(url) as store:
        imported(store, "git", repository.path)
    _, _, code = backcast("map", "update", "repo", "--store", url, *COUNTED)
    assert code == 0
    return url, shas


def shown(backcast: Backcast, url: str, when: str, *more: str) -> tuple[str, str]:
    """The map in the prompt that is built at a moment, and what was said on stderr."""
    given = ("--for", "module:utils.py", "--store", url, "--profile", "qwen3-8b-32k", *COUNTED)
    out, err, code = backcast("context", f"repo@{when}", *given, *more)
    assert code == 0, err
    return out.partition("# Map\n")[2].partition("\n# ")[0], err


def test_the_map_at_a_commit_is_of_the_runs_up_to_it_and_never_of_a_later_one(
    mapped: tuple[str, list[str]], backcast: Backcast
) -> None:
    url, (first, second, third) = mapped
    assert "def total(cart: Cart) -> int" in shown(backcast, url, f"commit:{first}")[0]
    assert TAXED in shown(backcast, url, f"commit:{second}")[0]
    assert TAXED in shown(backcast, url, f"before:commit:{third}")[0]
    assert TAXED not in shown(backcast, url, f"before:commit:{second}")[0]
    assert TAXED not in shown(backcast, url, f"commit:{third}")[0]


def test_an_event_number_sees_what_was_recorded_by_then(
    mapped: tuple[str, list[str]], backcast: Backcast
) -> None:
    url, (first, *_) = mapped
    with EventStore.open(url) as store:
        position = moment_at(store, "repo", f"commit:{first}").position
        assert position is not None
    assert shown(backcast, url, str(position))[0] == ""


def test_a_recorded_prompt_shows_what_the_log_can_prove(
    mapped: tuple[str, list[str]], backcast: Backcast
) -> None:
    url, (first, *_) = mapped
    text, said = shown(backcast, url, f"commit:{first}", "--record")
    assert text == ""
    assert "a recorded prompt shows the map that was known then, and there was none" in said
    out, _, code = backcast("verify", "--store", url)
    assert (code, "derived: same" in out) == (0, True)


def test_a_map_that_began_anew_is_there_at_each_commit_it_was_made_of_again(
    mapped: tuple[str, list[str]], backcast: Backcast
) -> None:
    url, (first, second, _) = mapped
    assert (
        backcast("map", "update", "repo", "--anew", "--last", "2", "--store", url, *COUNTED)[2] == 0
    )
    assert TAXED in shown(backcast, url, f"commit:{second}")[0]
    with EventStore.open(url) as store:
        line = lineage_of(store, "repo")
        then = map_of_runs(store, line, moment_at(store, "repo", f"commit:{first}"))
        assert then.updates == 1  # the code as it stood before the first run that was read
        branch = fork(store, "repo", store.version("repo")).task_id
        for sha in (first, second):
            moment = moment_at(store, branch, f"commit:{sha}")
            ours = map_of_runs(store, line, moment_at(store, "repo", f"commit:{sha}"))
            of_branch = map_of_runs(store, lineage_of(store, branch), moment)
            assert of_branch.items == ours.items


def test_the_library_sees_it_too(mapped: tuple[str, list[str]]) -> None:
    url, (first, second, _) = mapped
    with backcast.open(url) as store:
        texts = [
            store.task("repo").at(f"commit:{sha}").build("module:utils.py", policy="coverage").text
            for sha in (first, second)
        ]
        known = [store.task("repo").at(f"commit:{sha}").map.updates for sha in (first, second)]
    assert known[0] < known[1]
    assert texts[0]
