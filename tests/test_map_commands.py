"""The commands of maps tell at any moment what is on one, where it came from, what went stale."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from domain.budget import of_window
from domain.errors import InputError
from domain.events import MapEdit, MapEdited
from domain.moment import NOW
from engine.context.builder import Request
from engine.context.recorded import context_at
from engine.interfaces.cli import cli
from engine.interfaces.contexts import notes
from engine.interfaces.views import event_line
from engine.log import EventStore
from engine.replay.branches import fork
from tests.sources import SHOP, Task
from tests.test_mapping import VERSIONS, commands, history, kept, shop


def moved_on(url: str) -> tuple[str, str]:
    """A store in which one item of a map does not hold any more; gives its id, and a time at which
    it held."""
    with EventStore.open(url) as store:
        task = shop(store=store)
        map = kept(task)
        [edited] = store.read(task.id, types=["MAP_EDITED"])
        task.wrote("constants.py", SHOP["constants.py"].replace("64", "99"))
        task.outlined()
    [limit] = [one.id for one in map.items.values() if "LIMIT = 64" in one.text]
    return limit, edited.timestamp.isoformat()


def test_what_explains_a_map_fits_100_columns_and_names_the_event_that_moved_an_item_on(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    limit, _ = moved_on(url)
    with EventStore.open(url) as store:
        moved = [e.version for e in store.read("shop", types=["MODULE_ITERATION"])][-1]
        branch = fork(store, "shop", store.version("shop")).task_id
        Task("shop", store).wrote("constants.py", SHOP["constants.py"].replace("64", "98"))
        Task("shop", store).outlined()
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", "4000")
    shown = ran("show", "shop", "--explain", *most)
    told = shown[shown.index("backcast: map of ") :].split("\n")
    assert max(map(len, told)) <= 100
    assert f"    stale since shop@{moved}: constants.py name:LIMIT" in told
    assert "    made of 1 facet of 1 file" in told
    assert "    made of 2 facets of 2 files, among them validators.py" in told
    told = ran("show", branch, "--explain", *most).split("\n")
    assert f"    stale since {branch}@{moved}: constants.py name:LIMIT" in told
    items = json.loads(ran("show", "shop", "--json", *most))["items"]
    since = {one["id"]: one["stale_since"] for one in items}
    assert {one for one in since if since[one]} == {one["id"] for one in items if one["stale"]}
    assert since[limit] == f"shop@{moved}"


def test_a_line_of_the_log_tells_what_an_update_of_a_map_did() -> None:
    task = history(*VERSIONS[:2])
    kept(task)
    lines = [event_line(event) for event in task.store.read(task.id, types=["MAP_EDITED"])]
    assert "MAP_EDITED       commit 1111111111 +4 ~0 -0 by events 1, rules 1, " in lines[1]
    assert "MAP_EDITED       commit 2222222222 +0 ~1 -0 by events 1, rules 1, " in lines[2]
    edits = tuple(MapEdit(operation="DELETE", refused=why) for why in ("", "no such item", "no"))
    task.happened(MapEdited(context=task.id, edits=edits))
    [*_, event] = task.store.read(task.id, types=["MAP_EDITED"])
    assert event_line(event).endswith("MAP_EDITED       whole task +0 ~0 -1 2 refused  ann")


@pytest.mark.parametrize("name", ["show", "diff", "export", "update"])
def test_the_help_says_that_the_tokens_are_those_of_a_prompts_heading_too(name: str) -> None:
    told = CliRunner().invoke(cli, ["map", name, "--help"]).output
    assert "with the heading that a prompt puts above it" in " ".join(told.split())


def test_a_policy_says_what_show_and_export_and_diff_leave_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    limit, held = moved_on(url)
    policy = tmp_path / "withheld.toml"
    policy.write_text('[map]\nstale = "withheld"\n')
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", "4000")
    under = (*most, "--policy", str(policy))
    assert f"[{limit}]" in ran("show", "shop", *most)
    assert f"[{limit}]" not in ran("show", "shop", *under)
    assert f"[{limit}]" not in ran("export", "shop", *under)
    assert "0 items differ" in ran("diff", "shop", "--from", held, *most)
    assert f"- [{limit}] constants.py: LIMIT = 64" in ran("diff", "shop", "--from", held, *under)


def test_a_branch_shows_the_map_that_it_knows_with_what_was_tried_in_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        task = shop(store=store)
        kept(task)
        branch = Task(fork(store, task.id, store.version(task.id)).task_id, store)
        branch.minutes = task.minutes + 60
        later = MapEdit(operation="ADD", section="ERROR PATTERNS", text="cart.py: later")
        task.happened(MapEdited(context=task.id, edits=(later,)))
        tried = later.model_copy(update={"text": "cart.py: tried"})
        branch.happened(MapEdited(context=task.id, edits=(tried,)))
        branch.wrote("constants.py", SHOP["constants.py"].replace("64", "99"))
        branch.outlined()
        branched = branch.store.read(branch.id, types=["BRANCHED"])
        before = next(branched).timestamp.isoformat()
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", "4000")
    of_branch = ran("show", branch.id, *most)
    assert f"map of shop, as {branch.id} knew it, after 2 updates" in of_branch
    assert ("cart.py: tried" in of_branch, "cart.py: later" in of_branch) == (True, False)
    assert "LIMIT = 64 (stale)" in of_branch
    own = ran("show", "shop", *most)
    assert ("cart.py: tried" in own, "cart.py: later" in own) == (False, True)
    assert "LIMIT = 64\n" in own
    assert "cart.py: tried" not in ran("show", branch.id, "--at", before, *most)
    assert ran("export", branch.id, *most).startswith("# Map of shop\n\n## CONTEXT ROADMAP")
    assert "] cart.py: tried\n" in ran("diff", branch.id, "--from", before, *most)
    task_of_none = CliRunner().invoke(cli, ["map", "show", f"{branch.id}~1", "--store", url])
    assert isinstance(task_of_none.exception, InputError)


def test_a_map_that_a_context_leaves_out_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    limit, _ = moved_on(url)
    asked = ["context", "--task", "shop", "--for", "module:cart.py", "--store", url]
    asked += ["--tokenizer", "upper-bound"]
    told = CliRunner().invoke(cli, [*asked, "--text"])
    assert "note: the context map is left out: it is shown without --text" in told.stderr
    assert limit not in told.stdout
    told = CliRunner().invoke(cli, asked)
    assert "# Context map\n" in told.stdout
    assert "context map" not in told.stderr
    with EventStore.open(url) as store:
        small = of_window("small", 512, "upper-bound", "mistral")
        context = context_at(store, "shop", NOW, Request("module:cart.py"), small)
    assert notes(context, None) == ["no item of the context map is shown: 12 over budget, 1 stale"]
