"""`backcast help`: topics that concern more than one command, as Markdown."""

from difflib import get_close_matches
from pathlib import Path

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.terminal import say

FOLDER = Path(__file__).parents[1] / "help"
"The topics: a file each, which begins with a title and one sentence."


def topics() -> dict[str, str]:
    """Return the first sentence of each topic, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
    return {name: text.split("\n\n")[1].replace("\n", " ") for name, text in texts.items()}


@click.command(name="help")
@click.argument("topic", required=False)
def command(topic: str | None) -> None:
    """Explain a topic; without one, list the topics.

    \b
    backcast help moments
    """
    known = topics()
    if topic is None:
        for name, sentence in known.items():
            say(f"{name:<16}{sentence}")
    elif topic in known:
        say((FOLDER / f"{topic}.md").read_text(encoding="utf-8"), nl=False)
    else:
        near = get_close_matches(topic, known, 3, 0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InputError(
            f"no topic {topic!r}{hint} ('backcast help' lists them, 'backcast COMMAND --help'"
            " explains a command)"
        )
