"""The thread that writes exchanges into the store, in the order in which they ended."""

import json
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from backcast.domain.errors import BackcastError, ConflictError, StoreError, UnavailableError
from backcast.engine.interfaces.options import opened
from backcast.engine.interfaces.proxy.stale_parts import stale_parts
from backcast.engine.interfaces.proxy.status import counted, status_text
from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.bodies import COMPLETION
from backcast.engine.log.exchanges.chat_form import chat_form
from backcast.engine.log.exchanges.model_exchange import CountedPrompt, WrittenCall
from backcast.engine.log.exchanges.spool import Exchange, Spool, SpooledExchange
from backcast.engine.log.exchanges.writer import SOURCE, ExchangeWriter
from backcast.engine.models.address import address_of
from backcast.engine.models.http_client import NoAnswerError, ask
from backcast.engine.models.prefixes import shared

NAMED = 8
"Tasks that the last line names."
SECONDS = 5.0
"For an answer of llama-server about a prompt, which is not worth a longer wait."
PROPERTY = "default_generation_settings"
"What llama-server tells of itself, and no other server."
PROMPTS = 64
"Tasks whose latest prompt is at hand."
AGAIN = 2.0
"Seconds between two tries to write what the store refused."
TRIES = 5
"Times that an exchange is written while other processes write to its task."
RECENT_BYTES = 2 * 2**20
"Memory of texts that were just written, as the next are often like them."


class ServerCounter:
    """A counter of prompts by llama-server; any other server is asked once whether it is one."""

    def __init__(self, url: str) -> None:
        self.url = address_of(url)
        self.counts: bool | None = None
        "Whether it is llama-server; None as long as it did not say."
        self.before: dict[str, list[int]] = {}
        "The tokens of the latest prompt of each task."

    def count(self, text: str) -> int | None:
        """Return the tokens of a text."""
        tokens = self._tokens(text, parse_special=False)
        return None if tokens is None else len(tokens)

    def prompt(self, task: str, body: bytes, dialect: str) -> CountedPrompt | None:
        """Return a prompt as the server makes it, counted."""
        if not self._is_llama():
            return None
        try:
            asked = json.loads(body)
            if dialect == COMPLETION:
                shown = asked.get("prompt")  # no template is between
            else:
                shown = self._ask("/apply-template", chat_form(asked, dialect)).get("prompt")
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None  # a request that the server refuses, too
        if not isinstance(shown, str):
            return None
        tokens = self._tokens(shown, add_special=True, parse_special=True)
        if tokens is None:
            return None
        before = self.before.pop(task, None)
        self.before[task] = tokens
        if len(self.before) > PROMPTS:
            del self.before[next(iter(self.before))]
        kept = None if before is None else shared(before, tokens)
        return CountedPrompt(shown, len(tokens), kept)

    def _is_llama(self) -> bool:
        if self.counts is None:
            try:
                answer = ask(f"{self.url}/props", None, "", SECONDS)
                settings = json.loads(answer.body) if answer.status == 200 else None
                self.counts = isinstance(settings, dict) and PROPERTY in settings
            except ConnectionError:
                return False  # it may start yet
            except (OSError, ValueError, HTTPException, NoAnswerError):
                self.counts = False
        return self.counts

    def _tokens(self, text: str, **options: bool) -> list[int] | None:
        if not self._is_llama():
            return None
        asked = {"content": text.encode(errors="replace").decode(), **options}
        tokens = self._ask("/tokenize", asked).get("tokens")
        return tokens if isinstance(tokens, list) else None

    def _ask(self, path: str, asked: object) -> dict[str, Any]:
        """Return what the server answers; nothing where it does not."""
        try:
            answer = ask(self.url + path, asked, "", SECONDS)
            value = json.loads(answer.body) if answer.status == 200 else None
        except (OSError, ValueError, HTTPException, NoAnswerError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class RecordingThread(threading.Thread):
    """The one writer of the proxy; messages go to `tell`."""

    def __init__(
        self, url: str, name: str, to: str, folder: Spool, tell: Callable[[str], None],
        show: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        """`show` is given a line of how far it has come, whenever it has."""
        super().__init__(name="backcast record")
        self.url, self.task, self.to, self.folder, self._tell = url, name, to, folder, tell
        self._show = show
        self.failed: BackcastError | None = None
        "Why exchanges could not be written; their files stay."
        self.calls: Counter[str] = Counter()
        "Calls of a model, by task."
        self.others = self.faults = 0
        self.tokens = self.cached = 0
        self.stale: int | None = None
        "Of the latest prompt."
        self.said: set[str] = set()
        self._ended: queue.SimpleQueue[SpooledExchange | None] = queue.SimpleQueue()

    def done(self, exchange: SpooledExchange) -> None:
        """Take an exchange that ended."""
        self._ended.put(exchange)

    def close(self) -> None:
        """Write what still waits, and end."""
        self._ended.put(None)
        self.join()

    def tell(self, text: str) -> None:
        """Tell something; recording goes on where nobody can hear it."""
        with suppress(OSError):
            self._tell(text)

    def run(self) -> None:
        """Write what killed processes left, then each exchange as it ends."""
        waiting = deque[SpooledExchange]()
        try:
            with opened(self.url, create=True) as store:
                store.recent_bytes = RECENT_BYTES
                writer = ExchangeWriter(store, self.task, ServerCounter(self.to))
                self._recover(writer)
                ended = False
                while not ended:
                    exchange = self._next(AGAIN if waiting else None)
                    ended = exchange is None
                    if isinstance(exchange, SpooledExchange):
                        waiting.append(exchange)
                    self._write_all(writer, waiting)
        except BackcastError as error:
            self.failed = error
        if self.failed:
            self.tell(f"{self.failed}: what is recorded stays in {self.folder.folder}, and is"
                      " written when 'backcast record' runs again")  # fmt: skip

    def _next(self, seconds: float | None) -> "SpooledExchange | str | None":
        """Return the next exchange that ended; None at the end, a text after some seconds."""
        try:
            return self._ended.get(timeout=seconds)
        except queue.Empty:
            return "none yet"

    def _write_all(self, writer: ExchangeWriter, waiting: "deque[SpooledExchange]") -> None:
        """Write what waits, in its order; where the store refuses it, it waits on."""
        try:
            while waiting:
                if error := waiting[0].lost:
                    self._once(f"an exchange is not recorded whole: {error}")
                self._note(self._write(writer, waiting[0].path, str(error or "")))
                waiting.popleft()
        except UnavailableError as error:
            self.failed = error
            self._once(f"the store cannot be written: {error}; what comes is kept until it can")
        else:
            self.failed = None

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

    def _write(self, writer: ExchangeWriter, path: Path, lost: str = "") -> WrittenCall | None:
        """Write the exchange in a file, and remove the file; `lost` is why it is not whole."""
        try:
            exchange = spool.read(path)
        except FileNotFoundError:  # it could not be made
            return None
        if exchange and lost and exchange.how == spool.KILLED:
            exchange = exchange._replace(how=spool.LOST, why=lost)
        written = self._written(writer, exchange) if exchange else None
        path.unlink(missing_ok=True)
        return _with_stale(writer, written)

    def _written(self, writer: ExchangeWriter, exchange: Exchange) -> WrittenCall | None:
        for tries in reversed(range(TRIES)):
            try:
                return writer.write(exchange)
            except ConflictError:
                if not tries:
                    raise
            except StoreError:
                raise
            except Exception as error:  # no exchange, however odd, ends the recording of others
                self._once(f"an exchange is recorded as it came, and not taken apart: {error!r}")
                if writer.store.found(SOURCE, exchange.head.id):
                    return None  # what failed came behind the writing
                return writer.as_it_came(exchange)
        return None

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
        self.stale = written.stale if written.prompt else self.stale
        with suppress(OSError):
            counts = self.calls.total(), self.tokens, self.cached, self.faults
            self._show(status_text(*counts, self.stale))

    def _once(self, text: str) -> None:
        """Tell something, unless the like was told before."""
        like = text.partition(": ")[2][:60]
        if like not in self.said:
            self.said.add(like)
            self.tell(text)

    def summary(self) -> str:
        """Return in a line what was recorded."""
        count = self.calls.total()
        named = [f"{task} ({self.calls[task]})" for task in list(self.calls)[:NAMED]]
        more = len(self.calls) - len(named)
        tasks = ", ".join([*named, *([f"{more:,} more tasks"] if more else [])])
        others = f", {counted(self.others, 'request')} asking no model" if self.others else ""
        faults = f", {self.faults} with a fault" if self.faults else ""
        kept = ""
        if self.tokens:
            kept = f"; {self.tokens:,} tokens of prompts, {self.cached:,} of them not read again"
        return f"{counted(count, 'call')} seen{': ' if tasks else ''}{tasks}{others}{faults}{kept}"


def _with_stale(writer: ExchangeWriter, written: WrittenCall | None) -> WrittenCall | None:
    """Return what was written, with the stale parts of the prompt."""
    if written is None or not written.prompt:
        return written
    found = writer.reader(written.task).at(written.version)
    return written if found is None else written._replace(stale=stale_parts(writer.store, found))
