"""The calls of dispatched agents: all are counted, none goes beyond the budget, and a server that
is not there costs nothing."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.domain.spending import Allowance
from backcast.engine.interfaces.proxy.beside import proxy_beside
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.dispatch.agents import AgentForm, ServerForm, agent_of
from backcast.projections import fold, spending
from tests.test_dispatch import Dispatched, agent, dispatched, own_folder
from tests.upstreams import Playing, Upstream, reply, upstream

__all__ = ["own_folder"]
SEEN = 9
"Tokens of each call."


def answer(asked: Playing) -> None:
    asked.whole(reply("ok"))


def asking(calls: int) -> AgentForm:
    """Return an agent that asks so often, and then does its task."""
    form = agent_of(agent("calls", f"{calls}"))
    return form.model_copy(update={"server": ServerForm(environment={"SERVER": "{server}"})})


def worked(folder: Path, calls: int, to: str, **settings: Any) -> Dispatched:
    """Let an agent that asks so often work through the list of a repository."""
    with proxy_beside(to, f"sqlite:///{folder}/backcast.db", "cart") as proxy:
        return dispatched(folder, "good", proxy=proxy, implementer=asking(calls), **settings)


def spent(folder: Path) -> spending.State:
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        state: spending.State = fold(spending, store.read("cart"))
        return state


def model_calls(server: Upstream) -> int:
    return sum(path.endswith("completions") for path, _, _ in server.asked)


def test_each_call_of_an_agent_that_ends_at_once_is_counted(tmp_path: Path) -> None:
    with upstream(answer) as server:
        done = worked(tmp_path, 3, server.url, budget=Allowance(calls=9))
    [ended] = done.facts("DISPATCH_ENDED")
    assert (ended["calls"], ended["cost"]["tokens"]) == (3, 3 * SEEN)
    assert (spent(tmp_path).spent.calls, spent(tmp_path).spent.tokens) == (3, 3 * SEEN)


@pytest.mark.parametrize(
    ("budget", "calls", "tokens"),
    [(Allowance(calls=2), 2, 2 * SEEN), (Allowance(tokens=2 * SEEN - 1), 2, 2 * SEEN),
     (Allowance(tokens=2 * SEEN), 2, 2 * SEEN)],
)  # fmt: skip
def test_no_call_goes_beyond_the_budget(
    tmp_path: Path, budget: Allowance, calls: int, tokens: int
) -> None:
    with upstream(answer) as server:
        done = worked(tmp_path, 20, server.url, budget=budget)
        assert model_calls(server) == calls
    [ended] = done.facts("DISPATCH_ENDED")
    assert (ended["outcome"], ended["calls"], ended["cost"]["tokens"]) == ("budget", calls, tokens)
    assert "budget_" in done.stopped
    [halt] = done.facts("ITEM_DECIDED")
    assert halt["cause"] == "budget"


def test_what_passed_its_check_before_the_budget_ended_goes_on_at_its_review(
    tmp_path: Path,
) -> None:
    with upstream(answer) as server:
        first = worked(tmp_path, 2, server.url, budget=Allowance(calls=2), reviewer="approve")
        assert "budget_calls" in first.stopped
        again = dispatched(tmp_path, "good", budget=Allowance(calls=9), reviewer="approve")
        assert model_calls(server) == 2
    assert again.stopped == ""
    roles = [started["role"] for started in again.facts("DISPATCH_STARTED")]
    assert roles == ["implementer", "reviewer"]


def test_an_agent_that_waits_for_a_slow_answer_is_not_silent(tmp_path: Path) -> None:
    """Its model may write for longer than it may say nothing; then that counts from there on."""

    def slowly(asked: Playing) -> None:
        time.sleep(7)
        answer(asked)

    form = asking(1).model_copy(update={"silence": 5.0})
    with (
        upstream(slowly) as server,
        proxy_beside(server.url, f"sqlite:///{tmp_path}/backcast.db", "cart") as proxy,
    ):
        done = dispatched(tmp_path, "good", proxy=proxy, implementer=form)
    [ended] = done.facts("DISPATCH_ENDED")
    assert (ended["outcome"], ended["calls"]) == ("answered", 1)
    assert ended["cost"]["seconds"] > 5


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}"])
def test_a_server_that_is_not_there_is_told_before_anything_starts(
    tmp_path: Path, form: str
) -> None:
    to = form.format(free_port())
    with pytest.raises(InputError, match=r"--to: http://127\.0\.0\.1:\d+ cannot be reached"):
        worked(tmp_path, 1, to)


def test_a_server_that_goes_costs_nothing_and_is_told_as_the_reason(tmp_path: Path) -> None:
    def last(asked: Playing) -> None:
        asked.send_response(200)
        asked.send_header("Content-Type", "application/json")
        asked.send_header("Connection", "close")  # else the next call may meet its end
        asked.end_headers()
        asked.wfile.write(reply("ok"))
        asked.server.shutdown()
        asked.server.socket.close()

    with upstream(last) as server:
        done = worked(tmp_path, 30, server.url, budget=Allowance(calls=3), attempts=3)
    [ended], [halt] = done.facts("DISPATCH_ENDED"), done.facts("ITEM_DECIDED")
    assert (ended["outcome"], ended["calls"]) == ("unreached", 1)
    assert halt["cause"] == "server"
    assert "the server cannot be reached" in done.stopped
    again = dispatched(tmp_path, "good", budget=Allowance(calls=9))
    attempts = [started["attempt"] for started in again.facts("DISPATCH_STARTED")]
    assert (again.stopped, attempts) == ("", [1, 1])
