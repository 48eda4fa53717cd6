"""Run the proxy: until it is ended, or around a command whose variables point at it."""

import asyncio
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from urllib.parse import urlsplit
from urllib.request import getproxies

from backcast.domain.errors import InputError, MissingExtraError
from backcast.engine.interfaces.own_pages import AllowedPages, pages_of
from backcast.engine.interfaces.proxy.gate import CallGate
from backcast.engine.interfaces.proxy.left_behind import spool_folder
from backcast.engine.interfaces.proxy.recording_process import RecordingProcess
from backcast.engine.interfaces.proxy.status import StatusLine
from backcast.engine.log.exchanges.spool import Spool
from backcast.engine.models.address import address_of, shown

try:
    import uvicorn

    from backcast.engine.interfaces.proxy.passing import Proxy, is_here
except ImportError:
    raise MissingExtraError("'backcast record'", "record") from None

SECONDS = 2
"Seconds that open connections have when the proxy ends."


def variables(url: str) -> dict[str, str]:
    """Return the variables by which clients find a server."""
    return {
        "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_BASE": f"{url}/v1", "OPENAI_HOST": url,
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_HOST": url,
    }  # fmt: skip


def upstream(to: str) -> str:
    """Return the address of a server without /v1; `InputError` where it can be none."""
    # Without a scheme a name alone is more likely a slip than a machine here.
    if not re.match(r"localhost(/|$)|[^/]*[:.]", to.strip()):
        raise InputError(f"--to: needed http://HOST:PORT, found {shown(to)!r}")
    try:
        return address_of(to if "://" in to else f"http://{to}").removesuffix("/v1")
    except InputError as error:
        raise InputError(f"--to: {error}") from None


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; `InputError` where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, for asyncio to send each chunk at once: else the first waits for 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
    except (OSError, OverflowError) as error:
        found.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"--port: needed a free port on {host}, found {port}: {reason}; 0 takes any"
        ) from None
    return found


def record(
    url: str, to: str, host: str, port: int, name: str, command: Sequence[str],
    tell: Callable[[str], None], *, gate: CallGate | None = None,
    heard: Callable[[], None] = lambda: None, allowed: Sequence[str] = (),
) -> int:  # fmt: skip
    """Serve until a signal comes or the command has ended, and return the exit code.

    With a `gate` only what it admits is passed on, and a server that is not there is refused;
    `heard` hears its orders, in a thread of its own. `allowed` are hosts and origins of pages that
    may ask too.
    """
    to = upstream(to)
    with listening(host, port) as found:
        try:
            folder = Spool(spool_folder(url))
        except OSError as error:
            raise InputError(f"the exchanges cannot be kept: {error}") from None
        with StatusLine(tell, alone=not command) as line:
            thread = RecordingProcess(url, name, to, folder, tell, found, line.show, gate)
            thread.start()
            threading.Thread(target=heard, daemon=True).start()
            try:
                fast = uvicorn.Config("").get_loop_factory()  # uvloop's, where that is installed
                with asyncio.Runner(loop_factory=fast) as runner:
                    pages = pages_of(host, allowed)
                    code = runner.run(
                        _served(found, host, to, folder, thread, command, tell, gate, pages)
                    )
            finally:
                thread.close()
                folder.close()
    tell(thread.summary())
    if not thread.calls:
        variable = ", ".join(variables(""))
        if thread.others:
            tell("no answer of a model was asked for: 'backcast tasks' names what was asked else")
        else:
            tell(f"the command asked nothing here: if it asked a model, it may not read {variable}"
                 if command else
                 "nothing was recorded: point your agent at the address of the proxy")  # fmt: skip
    return code or int(not thread.calls or thread.failed is not None)


class _Uvicorn(uvicorn.Server):
    """A server whose signals are ours."""

    capture_signals = nullcontext  # type: ignore[assignment]


async def _served(
    found: socket.socket, host: str, to: str, folder: Spool, thread: RecordingProcess,
    command: Sequence[str], tell: Callable[[str], None], gate: CallGate | None, pages: AllowedPages,
) -> int:  # fmt: skip
    proxy = Proxy(to, folder, thread.done, gate=gate, pages=pages)
    config = uvicorn.Config(
        proxy, log_config=None, log_level="critical", access_log=False, lifespan="off",
        server_header=False, date_header=False, timeout_graceful_shutdown=SECONDS,
        timeout_keep_alive=75, ws="none",
    )  # fmt: skip
    server = _Uvicorn(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, end)
    here = f"http://{f'[{host}]' if ':' in host else host}:{found.getsockname()[1]}"
    serving = asyncio.ensure_future(server.serve([found]))
    try:
        if reason := await _unreachable(to):
            if gate:
                raise InputError(f"--to: {to} cannot be reached: {reason}")
            tell(f"note: {to} cannot be reached yet: {reason}")
        if not command:
            tell(f"recording what is asked of {here} (and sent on to {to}); Ctrl-C ends it")
            await serving
            return 0
        return await _ran(command, here, tell)
    finally:
        end()
        await serving
        await proxy.client.aclose()


async def _ran(command: Sequence[str], here: str, tell: Callable[[str], None]) -> int:
    """Run a command with the variables set, and return its exit code."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **variables(here)}
        )
    except OSError as error:
        raise InputError(f"{command[0]}: {error.strerror}") from None
    code = await process.wait()
    if code:
        tell(f"the command ended with {code}")
    return 128 - code if code < 0 else code


async def _unreachable(to: str) -> str:
    """Return why a server cannot be reached, or nothing; nothing is asked of it."""
    if getproxies() and not is_here(to):
        return ""  # it is reached by another way
    parts = urlsplit(to)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        connecting = asyncio.open_connection(parts.hostname, port)
        _, writer = await asyncio.wait_for(connecting, SECONDS)
        writer.close()
    except (OSError, TimeoutError) as error:
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
        return "it does not answer"
    return ""
