"""What does every part of a store need of its database? Transactions, and queries in one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from backcast.domain.errors import InputError

CLOSED = "the store was closed: open it again"
"Of a store that is used after its end."


class Cursor(Protocol):
    """The part of a database cursor that is used, with `?` for parameters in both databases."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement for each row."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> Any:
        """Return the remaining rows."""


class Database(ABC):
    """A database that holds a store."""

    @property
    def is_lasting(self) -> bool:
        """Whether what it holds outlives this process."""
        return True

    @abstractmethod
    def transact(self, *, write: bool, forced: bool = True) -> AbstractContextManager[Cursor]:
        """Open one transaction; with `write`, alone until it ends, and durable when it has ended.

        One that is not `forced` to the disk survives a killed process, and is durable with the next
        that is: after a loss of power no later one is there without it.

        Raises `UnavailableError` if the database refuses.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the database."""

    @abstractmethod
    def problems(self) -> Iterator[str]:
        """Yield a line for each fault that the database itself finds in its files."""

    def one(self, sql: str, *parameters: Any) -> Any:
        """Return the first row of a query, or None."""
        with self.transact(write=False) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchone()

    def all(self, sql: str, *parameters: Any) -> list[Any]:
        """Return all rows of a query."""
        with self.transact(write=False) as cursor:
            cursor.execute(sql, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows


def not_text(error: UnicodeEncodeError) -> InputError:
    """Return the error for a text with half a character, as undecodable file names have."""
    return InputError(f"needed text that can be written as UTF-8, found {error.object[:40]!r}")


def like(text: str) -> str:
    """Return a pattern that matches just this text."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
