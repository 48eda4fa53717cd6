"""The server of the tools: over stdin and stdout, or over HTTP on this machine alone."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import closing
from traceback import print_exc
from typing import Any

from backcast.domain.errors import BackcastError, InputError, MissingExtraError
from backcast.engine.interfaces.installed import VERSION
from backcast.engine.interfaces.mcp.arguments import FORMS
from backcast.engine.interfaces.mcp.asking import SCHEME, AnsweredCall, AskedStore
from backcast.engine.interfaces.own_pages import HOST, AllowedPages, own_names

try:
    import mcp_types as types
    from anyio.to_thread import run_sync
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
    from mcp.shared.exceptions import MCPError
except ImportError:
    raise MissingExtraError("'backcast mcp'", "mcp") from None

PATH = "/mcp"
LARGEST = 200_000
"Bytes of one request; arguments are short."
TEMPLATES = {
    "prompt": f"{SCHEME}{{task}}/prompt/{{event}}",
    "map": f"{SCHEME}{{task}}/map@{{time}}",
}


def server_of(store: AskedStore) -> "Server[Any]":
    """Return a server whose tools ask a store."""

    async def list_tools(context: object, params: object) -> types.ListToolsResult:
        hints = types.ToolAnnotations(read_only_hint=True)
        tools = [
            types.Tool(
                name=name, description=form.about, input_schema=form.schema(), annotations=hints
            )
            for name, form in FORMS.items()
        ]
        return types.ListToolsResult(tools=tools)

    async def call(context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            answer = await run_sync(
                store.call, params.name, params.arguments or {}, abandon_on_cancel=True
            )
        except Exception as error:  # a fault of ours: the client hears of it, and goes on
            print_exc()
            answer = AnsweredCall((f"a fault of backcast: {error!r:.200}",), failed=True)
        content = [types.TextContent(type="text", text=text) for text in answer.texts]
        return types.CallToolResult(content=[*content], is_error=answer.failed)

    async def resources(context: object, params: object) -> types.ListResourcesResult:
        try:
            found = await run_sync(store.listed, abandon_on_cancel=True)
        except BackcastError:
            found = []  # a call of a tool says why
        listed = [
            types.Resource(uri=one.uri, name=one.name, mime_type="text/plain") for one in found
        ]
        return types.ListResourcesResult(resources=listed)

    async def templates(context: object, params: object) -> types.ListResourceTemplatesResult:
        found = [
            types.ResourceTemplate(uri_template=uri, name=name, mime_type="text/plain")
            for name, uri in TEMPLATES.items()
        ]
        return types.ListResourceTemplatesResult(resource_templates=found)

    async def read(
        context: object, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            text = await run_sync(store.read, uri, abandon_on_cancel=True)
        except BackcastError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        text = text.encode(errors="replace").decode()
        content = types.TextResourceContents(uri=uri, text=text, mime_type="text/plain")
        return types.ReadResourceResult(contents=[content])

    return Server(
        "backcast", version=VERSION, on_list_tools=list_tools, on_call_tool=call,
        on_list_resources=resources, on_list_resource_templates=templates, on_read_resource=read,
    )  # fmt: skip


def serve_stdio(url: str) -> None:
    """Serve a client over stdin and stdout until it closes them."""
    _quiet()
    store = AskedStore(url)
    asyncio.run(_stdio(server_of(store)))
    if store.is_busy:
        os._exit(0)  # nobody waits for what is under way, and a store bears to be left
    store.close()


async def _stdio(server: "Server[Any]") -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def serve_http(url: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve over HTTP on this machine alone, until Ctrl-C. `InputError` where the port is taken."""
    import uvicorn  # a tenth of the time to start, which who speaks over stdio need not wait
    from mcp.server.transport_security import TransportSecuritySettings

    _quiet()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"--port: needed a free port, found {port}: {error.strerror}; 0 takes any"
            ) from None
        bound = found.getsockname()[1]
        pages = AllowedPages(frozenset(own_names(bound)))
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        with closing(AskedStore(url)) as store:
            app = server_of(store).streamable_http_app(
                streamable_http_path=PATH, stateless_http=True, json_response=True,
                transport_security=security, host=HOST, max_request_body_size=LARGEST,
            )  # fmt: skip
            config = uvicorn.Config(
                _for_own_pages(app, pages), log_config=None, log_level="critical", access_log=False,
                server_header=False, timeout_graceful_shutdown=2, ws="none",
            )  # fmt: skip
            tell(f"http://{HOST}:{bound}{PATH} answers, on this machine alone; Ctrl-C ends it")
            uvicorn.Server(config).run([found])


def _for_own_pages(app: Any, pages: AllowedPages) -> Any:
    """Return an application that answers none but programs and its own page."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1")
                   for name, value in scope.get("headers", ())}  # fmt: skip
        reason = pages.refusal(headers) if scope["type"] == "http" else ""
        if not reason:
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 403,
                    "headers": [(b"content-type", b"text/plain")]})  # fmt: skip
        await send({"type": "http.response.body", "body": reason.encode()})

    return guarded


def _quiet() -> None:
    """Say nothing of clients' faults on stderr: they are told of them."""
    for name in ("mcp", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
