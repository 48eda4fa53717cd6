"""`backcast mcp`: five tools by which an agent asks of runs."""

import click

from backcast.engine.interfaces.options import store_option
from backcast.engine.interfaces.terminal import message

PORT = 8097


@click.command(name="mcp")
@store_option
@click.option("--http", is_flag=True, help="Over streamable HTTP on this machine, not stdio.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="P",
              help=f"With --http: {PORT} unless another is named; 0 for any free one.")  # fmt: skip
def command(url: str, http: bool, port: int | None) -> None:
    """Let an agent ask of recorded runs, over the Model Context Protocol.

    \b
    claude mcp add backcast -- backcast mcp --store sqlite:////home/me/backcast.db
    backcast mcp --http                       # http://127.0.0.1:8097/mcp

    The tools find, brief, stale, explain and compare only read. A client starts the command itself
    and speaks with it over stdin and stdout: 'backcast help mcp' has the lines to paste.
    """
    if port is not None and not http:
        raise click.UsageError("--port goes with --http: over stdio there is none")
    from backcast.engine.interfaces.mcp.serving import serve_http, serve_stdio

    if http:
        serve_http(url, PORT if port is None else port, message)
    else:
        serve_stdio(url)
