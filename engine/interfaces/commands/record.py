"""`backcast record`: a proxy that records what an agent asks of a model."""

import sys

import click

from backcast.engine.interfaces.options import store_option
from backcast.engine.interfaces.terminal import message

PORT = 8099
NAME = "recorded"


@click.command(name="record", context_settings={"ignore_unknown_options": True})
@click.option("--to", required=True, metavar="URL", help="The server: http://HOST:PORT.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="P",
    help=f"{PORT} unless another is named; any free one before a command.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST",
              help="Where to listen; beyond this machine, anybody can ask.")  # fmt: skip
@click.option("--task", "name", default=NAME, show_default=True, metavar="NAME",
              help="The task of the first conversation; the next are NAME-2, NAME-3.")  # fmt: skip
@click.option("--allow", "allowed", multiple=True, metavar="NAME",
              help="A further name of this machine (host.docker.internal), or a page that may ask"
              " (http://localhost:3000).")  # fmt: skip
@store_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ...]")
def command(
    to: str, port: int | None, host: str, name: str, allowed: tuple[str, ...], url: str,
    command: tuple[str, ...],
) -> None:  # fmt: skip
    """Pass requests on to a model's server, and record each prompt and answer.

    \b
    backcast record --to http://127.0.0.1:8080 --port 8099      # then point your agent at it
    backcast record --to http://127.0.0.1:8080 -- aider         # sets the variables, and runs it

    Bytes go through as they are, both ways. Each conversation is a task. Keys and cookies are not
    recorded. The exit code is 1 where no call was seen: 'backcast help record'.
    """
    from backcast.engine.interfaces.proxy.serving import record

    wanted = port if port is not None else 0 if command else PORT
    sys.exit(record(url, to, host, wanted, name, command, message, allowed=allowed))
