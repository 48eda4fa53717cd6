"""A console whose own colours a terminal obeys, and nothing that a log says."""

from typing import Any

from rich.console import Console
from rich.text import Text

from backcast.engine.interfaces.terminal import SPEAKS, escaped_lines


class SafeConsole(Console):
    """A console that escapes the controls in all texts that it prints."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, with their controls escaped, and tables of `safe_text`."""
        super().print(*map(safe_text, objects), **options)


def safe_text(shown: Any) -> Any:
    """Return a text, plain or styled, with its controls escaped; anything else as it is."""
    if isinstance(shown, str):
        return escaped_lines(shown)
    if isinstance(shown, Text) and SPEAKS.search(shown.plain):
        return Text(escaped_lines(shown.plain), shown.style)
    return shown
