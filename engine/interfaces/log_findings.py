"""What a command found of the logs that it read: damage, unknown types, and those not read."""

from typing import TYPE_CHECKING, Any

from backcast.engine.interfaces.terminal import message
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log


class LogFindings:
    """What was found of some logs, by their names, for a program and the last line of a table."""

    def __init__(self) -> None:
        self.read = 0
        "Logs that could be opened."
        self.unreadable: dict[str, str] = {}
        "Why others could not be."
        self.damage: dict[str, list[str]] = {}
        "What could not be read of a log."
        self.unknown: dict[str, dict[str, int]] = {}
        "Events of types that this program does not know, by type."

    def add(self, log: "Log") -> None:
        """Take what is to be known of a log that was opened, and say it on stderr."""
        from backcast.engine.log.unknown_types import counted_types, unknown_types

        self.read += 1
        name = shown(log.name)
        for problem in log.problems:
            message(f"skipped {problem}")
        if log.problems:
            self.damage[name] = list(log.problems)
        if odd := unknown_types(log.store, log.tasks):
            self.unknown[name] = odd
            message(f"note: {name}: {counted_types(odd)}")

    def lose(self, name: str, reason: object) -> None:
        """Take that a log could not be read, and say why on stderr."""
        self.unreadable[shown(name)] = str(reason)
        message(reason)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "read": self.read, "unreadable": self.unreadable, "damage": self.damage,
            "unknown_types": self.unknown,
        }  # fmt: skip

    @property
    def torn(self) -> str:
        """How many logs are not whole, in words; empty for none."""
        count = len(self.damage)
        return f"{count} of {self.read} logs {'is' if count == 1 else 'are'} not whole" * bool(
            count
        )
