"""How often each task may still ask a model through a proxy, as the process that began it orders.

Orders come on the standard input, a JSON object a line; the standard output says what was done.
A call beyond the budget is never passed on; that a task's calls are all in the store is told.
"""

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from backcast.domain.spending import Allowance, Price
from backcast.engine.log.exchanges.bodies import DIALECTS
from backcast.engine.log.exchanges.model_exchange import WrittenCall

LOOK = 0.005
"Seconds between two looks whether the calls before one are counted."


class CallGate:
    """The budgets of tasks, and what is asked for them and not written yet.

    Requests come in the event loop; orders, and what is written, are heard in other threads.
    """

    def __init__(self, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._rest: dict[str, tuple[Allowance, Price]] = {}
        "What each task may still use; one that is not here may not ask a model."
        self._under_way = Counter[str]()
        "Exchanges that have begun, and are not in the store."
        self._unwritten = Counter[str]()
        "Those of them whose last byte is sent, or about to be."
        self._settling = set[str]()
        self._recovered = False
        "Whether what killed proxies left is in the store."

    def order(self, line: str) -> None:
        """Do what a line orders: open a task, or settle it."""
        order = json.loads(line)
        with self._lock:
            if "open" in order:
                rest = Allowance(*order["rest"]), Price(*order["price"])
                self._rest[order["open"]] = rest
                self._say({"opened": order["open"]})
            if "settle" in order:
                self._rest.pop(order["settle"], None)
                self._settling.add(order["settle"])
                self._settle(order["settle"])

    async def refused(self, task: str, method: str, path: str) -> str:
        """Return why a request is not passed on; else note that it begins."""
        asks = asks_model(method, path)
        while asks and self._must_wait(task):
            await asyncio.sleep(LOOK)
        with self._lock:
            if asks:
                if task not in self._rest:
                    return "no agent of this task is at work"
                rest, price = self._rest[task]
                if used_up := _used_up(rest):
                    self._say({"refused": task, "code": used_up})
                    return f"{used_up}: nothing is left of the budget"
                if rest.calls is not None:
                    self._rest[task] = rest._replace(calls=rest.calls - 1), price
            self._begun(task, 1)
        return ""

    def ending(self, task: str) -> None:
        """Note that the last of an exchange is about to be sent: it is not in the store yet."""
        with self._lock:
            self._unwritten[task] += 1

    def ended(self, task: str, method: str, path: str, *, reached: bool) -> None:
        """Note that an exchange has ended; one that reached no server costs no call."""
        with self._lock:
            if not reached and asks_model(method, path) and task in self._rest:
                rest, price = self._rest[task]
                if rest.calls is not None:
                    self._rest[task] = rest._replace(calls=rest.calls + 1), price

    def written(self, task: str, call: WrittenCall | None) -> None:
        """Note that an exchange is in the store, and what it cost."""
        with self._lock:
            self._begun(task, -1)
            self._unwritten[task] -= 1
            if call and task in self._rest:
                rest, price = self._rest[task]
                prompt, answer = call.tokens or 0, call.answer_tokens or 0
                tokens = rest.tokens and max(0, rest.tokens - prompt - answer)
                money = rest.money and max(0.0, rest.money - price.of(prompt, answer))
                self._rest[task] = rest._replace(tokens=tokens, money=money), price
            self._settle(task)

    def recovered(self) -> None:
        """Note that what killed proxies left is in the store."""
        with self._lock:
            self._recovered = True
            for task in sorted(self._settling):
                self._settle(task)

    def _begun(self, task: str, more: int) -> None:
        """Note that an exchange has begun, or is written; say how many are under way."""
        self._under_way[task] += more
        self._say({"under way": task, "count": self._under_way[task]})

    def _must_wait(self, task: str) -> bool:
        """Return whether a call must wait until those before it are counted."""
        rest, _ = self._rest.get(task, (Allowance(), Price()))
        limited = rest.tokens is not None or rest.money is not None
        return limited and self._unwritten[task] > 0

    def _settle(self, task: str) -> None:
        if self._recovered and task in self._settling and not self._under_way[task]:
            self._settling.discard(task)
            self._say({"settled": task})


def asks_model(method: str, path: str) -> bool:
    """Return whether a request asks a model.

    >>> asks_model("POST", "/v1/chat/completions?x=1"), asks_model("GET", "/v1/models")
    (True, False)
    """
    return method == "POST" and path.partition("?")[0] in DIALECTS


def _used_up(rest: Allowance) -> str:
    """Return the reason code of the first amount of which nothing is left."""
    for name in ("calls", "tokens", "money"):
        if getattr(rest, name) is not None and getattr(rest, name) <= 0:
            return f"budget_{name}"
    return ""


def main() -> None:
    """Run a proxy whose orders come on the standard input; its arguments are as of `record`."""
    from backcast.domain.errors import BackcastError
    from backcast.engine.interfaces.proxy.serving import record
    from backcast.engine.interfaces.terminal import message

    to, url, name = sys.argv[1:]
    lock = threading.Lock()

    def say(what: Mapping[str, Any]) -> None:
        with lock, suppress(OSError):
            print(json.dumps(what), flush=True)

    gate = CallGate(say)

    def hear() -> None:
        for line in sys.stdin:
            gate.order(line)

    try:
        record(url, to, "127.0.0.1", 0, name, (), message, gate=gate, heard=hear)
    except BackcastError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
