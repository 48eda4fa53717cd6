"""The commands of maps tell at any moment what is on one, where it came from, what went stale."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from backcast.domain.budget import of_window
from backcast.domain.errors import InputError
from backcast.domain.events import Claim, Committed
from backcast.domain.memory_events import MapEdit, MapEdited
from backcast.domain.moment import NOW
from backcast.domain.policy import MapSettings
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.history.branches import fork
from backcast.engine.history.maps import FAR
from backcast.engine.interfaces.built_prompts import notes
from backcast.engine.interfaces.cli import cli
from backcast.engine.interfaces.map_keeping import RUNS, MapUpdate
from backcast.engine.interfaces.map_keeping import kept as kept_by_command
from backcast.engine.interfaces.map_text import MapMoment, moved
from backcast.engine.interfaces.views import event_line
from backcast.engine.log import EventStore
from backcast.engine.memory.mapping.lines import is_lines
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import UpperBound
from tests.sources import SHOP, Task
from tests.test_mapping import TOKENS, VERSIONS, commands, history, kept, shop

Backcast = Callable[..., tuple[str, str, int]]


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
    assert "MAP_EDITED       commit 1111111111 +4 ~0 -0 by events 1, rules 2, " in lines[1]
    assert "MAP_EDITED       commit 2222222222 +0 ~1 -0 by events 1, rules 2, " in lines[2]
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
    assert "items that differ: 0" in ran("diff", f"shop@{held}", "shop", *most)
    assert f"- [{limit}] constants.py: LIMIT = 64" in ran("diff", f"shop@{held}", "shop", *under)


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
    assert "cart.py: tried" not in ran("show", f"{branch.id}@{before}", *most)
    assert ran("export", branch.id, *most).startswith("# Map of shop\n\n## CONTEXT ROADMAP")
    assert "] cart.py: tried\n" in ran("diff", f"{branch.id}@{before}", branch.id, *most)
    task_of_none = CliRunner().invoke(cli, ["map", "show", f"{branch.id}~1", "--store", url])
    assert isinstance(task_of_none.exception, InputError)


def test_a_map_that_a_context_leaves_out_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    limit, _ = moved_on(url)
    asked = ["context", "shop", "--for", "module:cart.py", "--store", url]
    asked += ["--tokenizer", "upper-bound"]
    told = CliRunner().invoke(cli, [*asked, "--text"])
    assert "note: the context map is left out: it is shown without --text" in told.stderr
    assert limit not in told.stdout
    told = CliRunner().invoke(cli, asked)
    assert "# Map\n" in told.stdout
    assert "context map" not in told.stderr
    with EventStore.open(url) as store:
        small = of_window("small", 512, "upper-bound", "mistral")
        context = context_at(store, "shop", NOW, Request("module:cart.py"), small)
    assert notes(context, None) == ["no item of the context map is shown: 12 over budget, 1 stale"]


def copied(task: Task, store: EventStore) -> None:
    """The events of a task in another store."""
    for event in task.store.read(task.id):
        claim = Claim(event.fact, event.timestamp, event.writer, event.because)
        store.append(task.id, [claim], after=event.version - 1)


def test_a_map_is_begun_anew_and_what_it_was_stays_known(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        copied(history(*VERSIONS), store)
    ran, most = commands(url), ("--tokenizer", "upper-bound")
    ran("update", "history", "--tokens", "1", *most)
    assert json.loads(ran("show", "history", "--json", *most))["items"] == []
    left = json.loads(ran("update", "history", "--json", *most).splitlines()[-1])
    assert (left["runs"], left["edits"]) == (0, 0)
    with EventStore.open(url) as store:
        [*_, last] = store.read("history")
    told = json.loads(ran("update", "history", "--anew", "--tokens", str(TOKENS),
                          "--json", *most))  # fmt: skip
    assert (told["runs"], told["updates"]) == (len(VERSIONS) + 1, len(VERSIONS) + 1)
    assert "def total" in ran("show", "history", *most)
    before = json.loads(ran("show", f"history@{last.version}", "--json", *most))
    assert before["items"] == []
    with EventStore.open(url) as store:
        lines = [event_line(event) for event in store.read(types=["MAP_EDITED"])]
    assert sum("begun anew" in line for line in lines) == 1
    again = json.loads(ran("update", "history", "--anew", "--last", "1", "--json",
                           "--tokens", str(TOKENS), *most))  # fmt: skip
    assert (again["runs"], again["updates"]) == (1, 2)


def test_a_frozen_map_says_how_many_runs_left_it_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        copied(history(*VERSIONS), store)
    policy = tmp_path / "frozen.toml"
    policy.write_text("[map]\nevolve = 2\nreopen = false\n")
    told = commands(url)("update", "history", "--policy", str(policy))
    many = len(VERSIONS) + 1
    assert f"; {many - 2} of {many} runs left it as it was: it is frozen (evolve = 2)" in told
    odd = CliRunner().invoke(cli, ["map", "show", "history@1999-01-01", "--store", url])
    assert "needed a moment after the first edit of the map of 'history'" in str(odd.exception)


def test_what_does_not_parse_any_more_is_told_as_stale() -> None:
    task = shop()
    map = kept(task)
    [item] = [one for one in map.items.values() if is_lines(one) and "normalise" in one.text]
    task.wrote("utils.py", "def normalise(:\n")
    task.outlined()
    then = MapMoment.at(task.store, task.id, "", MapSettings(), TOKENS, UpperBound())
    assert item.id in then.shown.stale
    assert moved(then, item) == ["utils.py does not parse"]


def test_what_explains_a_map_names_who_said_of_what_use_an_item_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        copied(history(*VERSIONS), store)
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", str(TOKENS))
    ran("update", "history", *most)
    with EventStore.open(url) as store:
        [*_, last] = store.read("history", types=["MAP_EDITED"])
    told = ran("show", "history", "--explain", *most)
    assert f"x helpful, last by events 1 in history@{last.version}" in told


def test_a_map_begun_anew_whose_model_is_gone_is_empty_and_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        shop(store=store)
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", str(TOKENS))
    whole = ran("update", "shop", *most)
    (tmp_path / "none.jsonl").write_text("")
    command = ["map", "update", "shop", "--anew", "--store", url, *most]
    odd = CliRunner().invoke(cli, [*command, "--model", f"answers:{tmp_path}/none.jsonl"])
    assert "as of 0 runs stands, the same command without --anew goes on" in str(odd.exception)
    assert json.loads(ran("show", "shop", "--json", *most))["items"] == []
    assert ran("update", "shop", *most) == whole


def test_of_a_long_history_the_newest_runs_are_read_and_the_others_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/long.db"
    with EventStore.open(url) as store:
        copied(history(*[f"LIMIT_{number} = {number}\n" for number in range(RUNS + 20)]), store)
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", "600")
    said = ran("update", "history", *most)
    older = "note: the newest 100 of 121 runs are read, those before them are passed over: --last N"
    assert older in said
    assert "items after 101 updates, the first of them of the code as it stood before" in said
    again = ran("update", "history", "--anew", "--last", "121", *most)
    assert "passed over" not in again
    assert "items after 121 updates" in again


def test_a_prompt_says_that_its_map_is_far_behind(tmp_path: Path, backcast: Backcast) -> None:
    url = f"sqlite:///{tmp_path}/behind.db"
    counted = ("--tokenizer", "upper-bound")
    with EventStore.open(url) as store:
        history(*VERSIONS, store=store)
    commands(url)("update", "history", "--tokens", "900", *counted)
    asked = ("context", "history", "--for", "module:cart.py", "--store", url, *counted)
    text, said, _ = backcast(*asked)
    assert ("# Map\n" in text, "map" in said) == (True, False)
    with EventStore.open(url) as store:
        task, first = Task("history", store), store.version("history")
        for number in range(FAR):
            sha, when = f"{number:040}", "2026-11-20T12:00:00Z"
            task.happened(Committed(sha=sha, message="", authored_at=when, committed_at=when))
    text, said, _ = backcast(*asked)
    assert "# Map\n" in text, said
    assert "note: the map in it was last updated 100 commits before this moment:" in said
    assert "'backcast map update history' reads the newest" in said
    shown = commands(url)("show", "history", *counted)
    assert "tokens; last updated 100 commits before this moment\n" in shown
    assert "last updated" not in commands(url)("show", f"history@{first}", *counted)
    exported = commands(url)("export", "history", *counted)
    assert "note: the map of history was last updated 100 commits before this moment" in exported


def test_an_update_says_why_edits_were_refused() -> None:
    no, why = MapEdit(operation="DELETE"), ("there is no section 'x'", "it is too long")
    edits = [no.model_copy(update={"refused": reason}) for reason in (why[0], why[1], why[0], "")]
    done = MapUpdate(None, 1, (MapEdited(context="a", edits=tuple(edits)),), MapSettings())
    assert str(done).endswith(
        "3 edits were refused: there is no section 'x' (2); it is too long (1)"
    )


def test_two_moments_of_a_map_are_compared_in_their_order_whichever_is_named_first(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/order.db"
    with EventStore.open(url) as store:
        copied(history(*VERSIONS), store)
    ran, most = commands(url), ("--tokenizer", "upper-bound", "--tokens", str(TOKENS))
    ran("update", "history", *most)
    with EventStore.open(url) as store:
        first, *_ = store.read("history", types=["MAP_EDITED"])
    forward = ran("diff", f"history@{first.version}", "history", *most)
    assert "items that differ: 0" not in forward
    back = ran("diff", "history", f"history@{first.version}", *most)
    note = f"note: history is the later moment: compared from history@{first.version} to it"
    assert back == f"backcast: {note}\n{forward}"


def test_an_update_that_is_broken_off_keeps_all_that_it_has_read(tmp_path: Path) -> None:
    ran, done = commands(f"sqlite:///{tmp_path}/off.db"), list[int]()

    def broken_off(runs: int, older: int) -> Callable[[int], None]:
        def advance(step: int) -> None:
            done.append(step)
            if len(done) == 2:
                raise KeyboardInterrupt

        return advance

    with EventStore.open(f"sqlite:///{tmp_path}/off.db") as store:
        copied(history(*VERSIONS), store)
        updater = MapUpdater.of(MapSettings(), TOKENS, UpperBound().count)
        with pytest.raises(KeyboardInterrupt):
            kept_by_command(store, "history", updater, None, anew=False, advancing=broken_off)
        assert len(list(store.read("history", types=["MAP_EDITED"]))) == 2
    most = ("--tokenizer", "upper-bound", "--tokens", str(TOKENS))
    rest = json.loads(ran("update", "history", "--json", *most))
    assert (rest["runs"], rest["updates"]) == (len(VERSIONS) + 1 - 2, len(VERSIONS) + 1)
