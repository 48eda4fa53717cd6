"""`backcast help`: topics that concern more than one command, as Markdown."""

import sys
import textwrap
from difflib import get_close_matches
from pathlib import Path

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.screen import screen_width
from backcast.engine.interfaces.terminal import say

FOLDER = Path(__file__).parents[1] / "help"
"The topics: a file each, which begins with a title and one sentence."
GROUPS = {
    "Start here": ("moments", "importing", "view", "policies", "testing"),
    "Record": (
        "agents", "record", "specifications", "servers", "recordings", "dispatch", "routing",
        "pipelines", "traces", "redaction",
    ),
    "What a prompt shows": (
        "earlier-work", "summaries", "maps", "knowledge", "facts", "ledger", "caches",
        "compression", "prefixes", "weights", "ratings",
    ),
    "Ask and measure": ("search", "ask", "histories", "scores", "fit", "calls"),
    "Run it": ("python", "mcp", "scale", "postgresql", "exit-codes", "limits", "contributing"),
    "Where it comes from, point by point": ("first-seed", "seeds", "spec-08"),
}  # fmt: skip
"The topics as they are listed; one that no group names stands in a last one."
WIDEST = 100
"Columns of a topic, however wide the terminal is."


def topics() -> dict[str, str]:
    """Return the first sentence of each topic, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
    begun = {name: text.split("\n\n")[1].replace("\n", " ") for name, text in texts.items()}
    return {name: f"{text.removesuffix('.').split('. ')[0]}." for name, text in begun.items()}


@click.command(name="help")
@click.argument("topic", required=False)
def command(topic: str | None) -> None:
    """Explain a topic; without one, list the topics.

    \b
    backcast help moments
    """
    known = topics()
    if topic is None:
        _list(known)
    elif topic in known:
        _show((FOLDER / f"{topic}.md").read_text(encoding="utf-8"))
    else:
        near = get_close_matches(topic, known, 3, 0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InputError(
            f"no topic {topic!r}{hint} ('backcast help' lists them, 'backcast COMMAND --help'"
            " explains a command)"
        )


def _list(known: dict[str, str]) -> None:
    """Print the topics in their groups, within the terminal if there is one."""
    width = screen_width()
    grouped = {name for names in GROUPS.values() for name in names}
    for title, names in {**GROUPS, "More": [one for one in known if one not in grouped]}.items():
        if not names:
            continue
        say(title)
        for name in names:
            line, indent = f"  {name:<16}{known[name]}", " " * 18
            within = min(width, WIDEST) if width else len(line)
            say(textwrap.fill(line, within, subsequent_indent=indent))


def _show(text: str) -> None:
    """Print a topic: as it stands, or for a terminal within its width."""
    width = screen_width()
    if width is None:
        say(text, nl=False)
        return
    from rich.markdown import Markdown
    from rich.theme import Theme

    from backcast.engine.interfaces.safe_console import SafeConsole

    shown = Markdown(text, code_theme="ansi_light", hyperlinks=False)
    plain = Theme({"markdown.code": "bold cyan"})  # on the terminal's own ground
    console = SafeConsole(file=sys.stdout, width=min(width, WIDEST), highlight=False, theme=plain)
    console.print(shown)
