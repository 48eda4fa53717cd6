"""A policy chooses agents and says why; on recorded runs it is tried with bounds that hold."""

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backcast.domain.dispatch_events import TaskTraits
from backcast.domain.errors import InputError
from backcast.domain.ledger import STALLS
from backcast.domain.routing import RoutingPolicy, RoutingRule, choice, drawn, possible
from backcast.domain.routing_trial import Episode, Try, estimated, recorded, result, tried
from backcast.domain.spending import Amounts
from backcast.engine.interfaces.cli import main
from backcast.engine.log.store import EventStore
from backcast.engine.replay.routing import episodes_in
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.dispatch.routing_file import routes_in, routing_in

AGENT = Path(__file__).with_name("routed_agent.py")
CASCADE = RoutingPolicy(agents=("cheap", "strong"))
CHEAP, STRONG = Amounts(1, 100, 1.0), Amounts(1, 900, 9.0)


def episode(*agents: str, done: bool = True, item: str = "1", **more: Any) -> Episode:
    tries = tuple(
        Try(frozenset({agent}), f"{item} {number}", CHEAP if agent == "cheap" else STRONG)
        for number, agent in enumerate(agents)
    )
    named = {"traits": TaskTraits(), "halted": not done, **more}
    return Episode("run", item, "", tries=tries, done=done, **named)


def test_the_first_rule_that_holds_says_who_begins_and_why() -> None:
    policy = RoutingPolicy(
        agents=("cheap", "strong"),
        rules=(
            RoutingRule(agent="strong", modules=("billing/*",), tested=False),
            RoutingRule(agent="strong", failed=0.5),
        ),
    )
    begun = choice(policy, TaskTraits(modules=("billing/tax.py",), tested=False))
    assert begun.agent == "strong"
    assert begun.why == ("rule 1: it names billing/tax.py; no test reaches billing/tax.py",)
    tested = choice(policy, TaskTraits(modules=("billing/tax.py",), tested=True))
    assert tested == ("cheap", ("no rule holds: the first of 2 agents",), None, None)
    often = TaskTraits(alike={"cheap": (1, 3)})
    assert choice(policy, often).why == ("rule 2: cheap failed at 2 of 3 like it",)
    assert choice(policy, TaskTraits(alike={"cheap": (0, 1)})).agent == "cheap"


def test_what_nobody_looked_at_leaves_both_ways_open() -> None:
    policy = RoutingPolicy(agents=("a", "b"), rules=(RoutingRule(agent="b", blast=3),))
    assert [agent for agent, _ in possible(policy, TaskTraits(modules=("x.py",)))] == ["b", "a"]
    assert [agent for agent, _ in possible(policy, TaskTraits())] == ["a"]
    assert [agent for agent, _ in possible(policy, None)] == ["b", "a"]
    known = TaskTraits(modules=("x.py",), blast=3)
    assert [agent for agent, _ in possible(policy, known)] == ["b"]


@given(st.floats(0.01, 1), st.integers(1, 4), st.text(max_size=9))
def test_chances_add_up_and_a_draw_is_the_same_again(share: float, count: int, seed: str) -> None:
    policy = RoutingPolicy(agents=tuple("abcd"[:count]), explore=share)
    made = choice(policy, TaskTraits(), seed)
    assert made == choice(policy, TaskTraits(), seed)
    assert made.draw == drawn(seed)
    rest = share / count * (count - 1)
    own = 1 - rest if made.agent == "a" else share / count
    assert made.propensity == pytest.approx(own, abs=1e-6)


def test_each_agent_is_drawn_as_often_as_its_chance_says() -> None:
    policy = RoutingPolicy(agents=("a", "b"), explore=0.4)
    drew = [choice(policy, TaskTraits(), f"{n}").agent for n in range(2000)]
    assert 0.17 < drew.count("b") / 2000 < 0.23


def test_what_was_run_is_exact() -> None:
    told = episode("cheap", "strong")
    found = tried(CASCADE, told, [told])
    assert found == (("cheap", "strong"), True, (True, True), told.cost, told.cost)
    [row] = result("cascade", CASCADE, [told]).outcomes
    assert (row.exact, recorded([told]).done) == (True, (1, 1))


def test_what_was_not_run_is_bounded() -> None:
    told, other = episode("cheap", "strong"), episode("strong", item="2")
    found = tried(RoutingPolicy(agents=("strong",)), told, [told, other])
    assert (found.exact, found.done, found.least) == (False, (False, True), STRONG)
    assert found.most == STRONG.plus(STRONG).plus(STRONG)
    never = tried(RoutingPolicy(agents=("other",)), told, [told, other])
    assert (never.done, never.least, never.most) == ((False, True), Amounts(), None)


def test_the_same_first_prompt_in_another_run_is_exact() -> None:
    told, other = episode("cheap", done=False), episode("strong")._replace(run="other")
    found = tried(RoutingPolicy(agents=("strong",)), told, [told, other])
    assert (found.exact, found.done, found.least) == (True, (True, True), STRONG)


def by_chance(agent: str, chance: float, *, done: bool, item: int) -> Episode:
    return episode(agent, done=done, item=f"{item}", start=agent, propensity=chance,
                   drawn_of=("cheap", "strong"))  # fmt: skip


def test_an_estimate_weighs_by_chance() -> None:
    # Of ten tasks begun at even chances the strong one did 4 of its 5, the cheap one 1 of its 5.
    known = [by_chance("strong", 0.5, done=n > 0, item=n) for n in range(5)]
    known += [by_chance("cheap", 0.5, done=n == 0, item=5 + n) for n in range(5)]
    made, why = estimated(RoutingPolicy(agents=("strong",)), known)
    assert (why, made and made.done, made and made.matched, made and made.random) == (
        "",
        0.8,
        5,
        10,
    )
    cheap, _ = estimated(RoutingPolicy(agents=("cheap",)), known)
    assert cheap is not None
    assert (cheap.done, cheap.tokens) == (0.2, 100)


def test_an_estimate_comes_near_to_what_a_policy_would_do() -> None:
    policy, known = RoutingPolicy(agents=("cheap", "strong"), explore=0.5), list[Episode]()
    for n in range(3000):
        made = choice(policy, TaskTraits(), f"{n}")
        hard = drawn(f"hard {n}") < 0.3
        held = made.agent == "strong" or not hard
        known.append(by_chance(made.agent, made.propensity or 0, done=held, item=n))
    found, _ = estimated(RoutingPolicy(agents=("cheap",)), known)
    assert found is not None
    assert found.low < 0.7 < found.high < found.low + 0.1
    strong, _ = estimated(RoutingPolicy(agents=("strong",)), known)
    assert strong is not None
    assert (strong.done, strong.high) == (1.0, 1.0)
    assert strong.low > 0.99


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ([episode("cheap")], "no task began with an agent drawn by chance"),
        ([by_chance("cheap", 0.9, done=True, item=1)._replace(drawn_of=("cheap",))],
         "chance could not choose strong"),
        ([by_chance("cheap", 0.9, done=True, item=1)], "0 of 1 tasks by chance began as it would"),
    ],
)  # fmt: skip
def test_no_estimate_without_grounds(known: list[Episode], why: str) -> None:
    assert estimated(RoutingPolicy(agents=("strong",)), known) == (None, why)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"agents": []}, "at least 1 item"),
        ({"agents": ["a", "a"]}, "needed each agent once"),
        ({"agents": ["a"], "rules": [{"agent": "b", "blast": 1}]}, "needed one of agents"),
        ({"agents": ["a"], "rules": [{"agent": "a"}]}, "needed one of modules, blast"),
        ({"agents": ["a"], "explore": 2}, "less than or equal to 1"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RoutingPolicy(**table)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agents", "needed TOML, found none"),
        ('[stalls]\nspeed = 1\nfailures = 2', "needed failures, unchanged"),
        ("[stalls]\nfailures = -1", "needed failures as a number from 0"),
        ("stalls = 3", "needed a table"),
        ('agents = ["nobody"]', "no agent 'nobody'"),
        ("[stalls]\nfailures = 2", 'needed agents = \\["CHEAPEST", ...\\], found none'),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "routing.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        routes_in(file, None)


def test_thresholds_of_stalls_stand_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "routing.toml"
    file.write_text("[stalls]\nfailures = 2\n")
    assert routing_in(file) == (None, STALLS._replace(failures=2))


# Dispatched


def parts(folder: Path, *difficulties: float) -> Path:
    """Make a repository of parts, each to be mended, and the agents and the policy beside it."""
    place = folder / "parts"
    place.mkdir()
    lines = list[str]()
    for number, difficulty in enumerate(difficulties, 1):
        name = f"part{number}"
        (place / f"{name}.py").write_text(f"def {name}():\n    return 0\n")
        # What is not mended yet does no harm to the tasks before.
        (place / f"test_{name}.py").write_text(
            f"from {name} import {name}\n\n\ndef test_it():\n    assert {name}() in (0, {number})\n"
        )
        lines.append(f"- [ ] {number}. {name}() of {name}.py must return {number},"
                     f" difficulty {difficulty}\n")  # fmt: skip
    (place / "tasks.md").write_text("".join(lines))
    for command in (["init", "-q"], ["add", "--all"], ["commit", "-qm", "parts"]):
        named = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        subprocess.run(["git", *named, *command], cwd=place, check=True)
    rows = [
        f"[{name}]\nprogram = {json.dumps(sys.executable)}\n"
        f'arguments = [{json.dumps(str(AGENT))}, "{strength}", "{tokens}"]\n'
        f'prompt_price = 1\nanswer_price = 1\n[{name}.output]\nform = "json"\n'
        'answer = [{ text = "result" }]\n'
        'usage = [{ prompt = ["usage.prompt"], answer = ["usage.answer"] }]\n'
        for name, strength, tokens in (("cheap", 0.4, 100), ("strong", 0.9, 1000))
    ]
    (folder / "agents.toml").write_text("\n".join(rows))
    return place


def run(*words: str) -> tuple[int, str, str]:
    """Run a command, and return its exit code and what it says."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def dispatch(folder: Path, policy: str, name: str, *arguments: str) -> int:
    (folder / "routing.toml").write_text(policy)
    place = folder / "parts"
    subprocess.run(["git", "checkout", "-q", "tasks.md"], cwd=place, check=True)
    command = ["dispatch", str(place / "tasks.md"), "--repo", str(place), "--routing",
               str(folder / "routing.toml"), "--agents", str(folder / "agents.toml"), "--task",
               name, "--store", f"sqlite:///{folder}/b.db", "--json", *arguments]  # fmt: skip
    code, _, said = run(*command)
    assert code in (0, 1), said
    return code


POLICY = 'agents = ["cheap", "strong"]\n'


def test_the_strong_agent_goes_on_where_the_cheap_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts(tmp_path, 0.2, 0.7)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert dispatch(tmp_path, POLICY, "cascade") == 0
    url = f"sqlite:///{tmp_path}/b.db"
    with EventStore.open(url) as store:
        started = [e.fact.model_dump() for e in store.read("cascade", types=["DISPATCH_STARTED"])]
        prompts = [store.get(fact["prompt"]).decode() for fact in started]
        one, two = episodes_in(store, "cascade")
        assert all(verdict.holds for verdict in verified(store, "cascade"))
    assert [fact["routed"]["agent"] for fact in started] == ["cheap", "cheap", "strong"]
    assert started[2]["routed"]["why"] == ("cheap began, 1 attempt before did not hold",)
    assert "1 of " in prompts[2], "the strong one is told what failed"
    assert "test_part2.py" in prompts[2]
    assert "+    return 3\n" in prompts[2], "and what the cheap one had changed"
    assert "return 3" not in prompts[1]
    assert [len(told.tries) for told in (one, two)] == [1, 2]
    assert two.cost == Amounts(2, 1210, two.cost.seconds, 0.00121)
    command = ["regress", url, "--routing", str(tmp_path / "routing.toml"), "--json"]
    _, out, _ = run(*command)
    found = json.loads(out)
    rows = {row["policy"]: row for row in found["policies"]}
    assert list(rows) == ["recorded", "routing", "always cheap", "always strong"]
    assert (rows["routing"]["exact"], rows["routing"]["done"]) == (2, [2, 2])
    assert rows["routing"]["least"] == rows["recorded"]["least"]
    assert (rows["always cheap"]["exact"], rows["always cheap"]["done"]) == (1, [1, 2])
    assert (rows["always strong"]["exact"], rows["always strong"]["done"]) == (0, [0, 2])


def test_either_an_implementer_or_a_policy(tmp_path: Path) -> None:
    place = parts(tmp_path, 0.2)
    tasks = str(place / "tasks.md")
    for arguments in ([], ["--implementer", "codex", "--routing", "x.toml"]):
        code, _, said = run("dispatch", tasks, "--repo", str(place), *arguments)
        assert code == 2
        assert "needed --implementer AGENT or --routing FILE" in said


def test_a_log_without_dispatches_is_told(tmp_path: Path) -> None:
    (tmp_path / "routing.toml").write_text(POLICY)
    code, _, said = run("regress", "fixtures/logs/till.jsonl", "--routing",
                        str(tmp_path / "routing.toml"))  # fmt: skip
    assert code == 2
    assert "needed dispatches to try a policy of routing on" in said


def test_other_thresholds_are_tried_on_a_recorded_run(tmp_path: Path) -> None:
    file = tmp_path / "stalls.toml"
    file.write_text("[stalls]\nfailures = 1\nreplans = 0\n")
    log = "fixtures/recorded/dispatch.jsonl#shop@9"
    assert "Stalled" not in run("show", "ledger", log)[1]
    _, out, _ = run("show", "ledger", log, "--stalls", str(file))
    assert "Stalled: 1.1: the same failure 1 time" in out
    assert "a person must decide" in out.lower()
