"""The recording in a process of its own, so that it never holds up the bytes that pass.

In a thread it would: a body of 50 MB is read in one go, and no other stream would go on meanwhile.
The process ends at once when the proxy is killed; what it did not write lies in the spool.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from backcast.domain.errors import UnavailableError
from backcast.engine.interfaces.proxy.gate import CallGate
from backcast.engine.interfaces.proxy.recording import RecordingThread
from backcast.engine.log.exchanges.model_exchange import WrittenCall
from backcast.engine.log.exchanges.spool import Spool, SpooledExchange
from backcast.engine.log.exchanges.writer import ExchangeWriter

LATER = 5
"How far behind the proxy itself the recording stands, where a processor is short (see nice)."


class RecordingProcess(RecordingThread):
    """The recording, as the proxy sees it: a thread that hears what the process has done."""

    def __init__(
        self, url: str, name: str, to: str, folder: Spool, tell: Callable[[str], None],
        listener: socket.socket, show: Callable[[str], None] = lambda text: None,
        gate: CallGate | None = None,
    ) -> None:  # fmt: skip
        super().__init__(url, name, to, folder, tell, show)
        self._gate, self._named = gate, deque[str]()
        self._sending = threading.Thread(target=self._send)
        here, beyond = multiprocessing.Pipe()
        self._pipe = here

        def run() -> None:
            here.close()  # else it would not be told that the proxy has ended
            listener.close()
            _Recording(url, name, to, folder, beyond).work()

        # Forked before there is any thread: nothing is imported twice.
        self._process = multiprocessing.get_context("fork").Process(target=run)
        self._process.start()
        beyond.close()

    def start(self) -> None:
        """Begin to record."""
        self._sending.start()
        super().start()

    def done(self, exchange: SpooledExchange) -> None:
        """Take an exchange that ended."""
        self._named.append(exchange.head.task)
        super().done(exchange)

    def close(self) -> None:
        """Write what still waits, and end."""
        super().close()
        self._sending.join()
        self._process.join()
        self._pipe.close()

    def run(self) -> None:
        """Note what the process has done, until it ends."""
        ended: object = None
        with suppress(EOFError, OSError):
            while True:
                match self._pipe.recv():
                    case "tell", str() as text:
                        self.tell(text)
                    case "written", (WrittenCall() | None) as written:
                        self._note(written)
                        task = self._named.popleft()  # they are written in this order
                        if self._gate:
                            self._gate.written(task, written)
                    case "recovered", _:
                        if self._gate:
                            self._gate.recovered()
                    case "ended", ended:
                        break
        if ended is None:
            ended = "the recording was ended from outside"
            self.tell(f"{ended}: what comes stays in {self.folder.folder}, and is written when"
                      " 'backcast record' runs again")  # fmt: skip
        if ended:
            self.failed = UnavailableError(str(ended))

    def _send(self) -> None:
        """Send on what has ended. Not from the event loop, which a full pipe would hold up."""
        exchange: SpooledExchange | None = None
        with suppress(OSError):
            while exchange := self._ended.get():
                self._pipe.send((exchange.path, exchange.lost))
            self._pipe.send(None)


class _Recording(RecordingThread):
    """The recording, in its own process."""

    def __init__(self, url: str, name: str, to: str, folder: Spool, pipe: Connection) -> None:
        super().__init__(url, name, to, folder, lambda text: pipe.send(("tell", text)))
        self._pipe = pipe

    def work(self) -> None:
        """Record until the proxy ends it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the proxy heard it too, and says when
        os.nice(LATER)
        threading.Thread(target=self._hear, daemon=True).start()
        with suppress(OSError):
            self.run()
            self._pipe.send(("ended", str(self.failed or "")))

    def _hear(self) -> None:
        try:
            while found := self._pipe.recv():
                path, lost = found
                self._ended.put(SpooledExchange.ended(Path(path), lost))
            self._ended.put(None)
        except (EOFError, OSError):
            os._exit(1)  # the proxy was killed: what waits is recovered from the spool

    def _recover(self, writer: ExchangeWriter) -> None:
        super()._recover(writer)
        self._pipe.send(("recovered", None))

    def _note(self, written: WrittenCall | None) -> None:
        self._pipe.send(("written", written))
