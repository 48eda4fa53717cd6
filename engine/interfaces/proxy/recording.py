"""The thread that writes exchanges into the store, in the order in which they ended."""

import json
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from backcast.domain.errors import BackcastError, ConflictError, UnavailableError
from backcast.engine.context.prefix import shared
from backcast.engine.interfaces.options import opened
from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.spool import Spool, SpooledExchange
from backcast.engine.log.exchanges.writer import CountedPrompt, ExchangeWriter, WrittenCall
from backcast.engine.models.llama_server import Server

TRIES = 5
"Times that an exchange is written while other processes write to its task."


class ServerCounter:
    """A counter of prompts by llama-server; one that is none tells nothing, and is asked once."""

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.counts: bool | None = None
        self.before: dict[str, list[int]] = {}
        "The tokens of the latest prompt of each task."

    def count(self, text: str) -> int | None:
        """Return the tokens of a text."""
        tokens = self._encoded(text)
        return None if tokens is None else len(tokens)

    def prompt(self, task: str, body: bytes) -> CountedPrompt | None:
        """Return a prompt as the server makes it, counted."""
        if self.counts is False:
            return None
        try:
            shown = self.server.ask("/apply-template", json.loads(body)).get("prompt")
        except (UnavailableError, ValueError):
            return None
        if not isinstance(shown, str) or (tokens := self._special(shown)) is None:
            return None
        before = self.before.get(task)
        self.before[task] = tokens
        kept = None if before is None else shared(before, tokens)
        return CountedPrompt(shown, len(tokens), kept)

    def _special(self, prompt: str) -> list[int] | None:
        try:
            asked = {"content": prompt, "add_special": True, "parse_special": True}
            tokens = self.server.ask("/tokenize", asked).get("tokens")
        except UnavailableError:
            return None
        return tokens if isinstance(tokens, list) else None

    def _encoded(self, text: str) -> list[int] | None:
        if self.counts is False:
            return None
        try:
            tokens = self.server.encode(text)
        except UnavailableError:
            self.counts = bool(self.counts) and None
            return None
        self.counts = True
        return tokens


class RecordingThread(threading.Thread):
    """The one writer of the proxy; messages go to `tell`."""

    def __init__(
        self, url: str, name: str, to: str, folder: Spool, tell: Callable[[str], None]
    ) -> None:
        super().__init__(name="backcast record")
        self.url, self.task, self.to, self.folder, self.tell = url, name, to, folder, tell
        self.failed: BackcastError | None = None
        "Why exchanges could not be written; their files stay."
        self.calls: Counter[str] = Counter()
        "Calls of a model, by task."
        self.others = self.faults = 0
        self.tokens = self.cached = 0
        self.said: set[str] = set()
        self._ended: queue.SimpleQueue[SpooledExchange | None] = queue.SimpleQueue()

    def done(self, exchange: SpooledExchange) -> None:
        """Take an exchange that ended."""
        self._ended.put(exchange)

    def close(self) -> None:
        """Write what still waits, and end."""
        self._ended.put(None)
        self.join()

    def run(self) -> None:
        """Write what killed processes left, then each exchange as it ends."""
        try:
            with opened(self.url, create=True) as store:
                writer = ExchangeWriter(store, self.task, ServerCounter(self.to))
                self._recover(writer)
                while (exchange := self._ended.get()) is not None:
                    if exchange.lost:
                        self._once(f"an exchange is not recorded whole: {exchange.lost}")
                    self._note(self._write(writer, exchange.path))
        except BackcastError as error:
            self.failed = error
            self.tell(f"{error}: what is recorded stays in {self.folder.folder}, and is written"
                      " when 'backcast record' runs again")  # fmt: skip

    def _recover(self, writer: ExchangeWriter) -> None:
        whole = torn = 0
        for path in self.folder.left_behind():
            found = spool.read(path)
            if self._write(writer, path):
                whole += bool(found and found.how != spool.KILLED)
                torn += bool(found and found.how == spool.KILLED)
        self.folder.left_behind()  # folders that are empty now go
        if whole or torn:
            self.tell(
                f"note: a killed proxy left {whole + torn} exchanges, which are recorded now:"
                f" {whole} whole, {torn} as far as they came"
            )

    def _write(self, writer: ExchangeWriter, path: Path) -> WrittenCall | None:
        """Write the exchange in a file, and remove the file."""
        try:
            exchange = spool.read(path)
        except FileNotFoundError:  # it could not be made
            return None
        written = None
        for left in reversed(range(TRIES)):
            try:
                written = writer.write(exchange) if exchange else None
                break
            except ConflictError:
                if not left:
                    raise
        path.unlink(missing_ok=True)
        return written

    def _note(self, written: WrittenCall | None) -> None:
        if written is None:
            return
        if written.prompt:
            self.calls[written.task] += 1
            self.tokens += written.tokens or 0
            self.cached += written.cached or 0
        else:
            self.others += 1
        if written.fault:
            self.faults += 1
            self._once(f"{written.task}@{written.version}: {written.fault}")

    def _once(self, text: str) -> None:
        """Tell something, unless the like was told before."""
        like = text.partition(": ")[2][:60]
        if like not in self.said:
            self.said.add(like)
            self.tell(text)

    def summary(self) -> str:
        """Return in a line what was recorded."""
        count = self.calls.total()
        tasks = ", ".join(f"{task} ({self.calls[task]})" for task in self.calls)
        others = f", {self.others} requests that ask no model" if self.others else ""
        faults = f", {self.faults} with a fault" if self.faults else ""
        kept = ""
        if self.tokens:
            kept = f"; {self.tokens:,} tokens of prompts, {self.cached:,} of them not read again"
        return f"{count} calls seen{': ' if tasks else ''}{tasks}{others}{faults}{kept}"
