"""What every part of a store asks of its database: transactions, and questions in one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from backcast.domain.errors import InputError


class Cursor(Protocol):
    """What is used of a database cursor, with `?` for parameters in both databases."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement for each row."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> Any:
        """The rows that are left."""


class Database(ABC):
    """A database that holds a store."""

    @abstractmethod
    def transact(self, *, write: bool) -> AbstractContextManager[Cursor]:
        """One transaction; with `write`, alone until it ends, and durable when it has ended.

        Raises `UnavailableError` where the database refuses.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    @abstractmethod
    def problems(self) -> Iterator[str]:
        """What the database itself finds wrong with its files, a line each."""

    def one(self, sql: str, *parameters: Any) -> Any:
        """The first row that a question gives, or None."""
        with self.transact(write=False) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchone()

    def all(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows that a question gives."""
        with self.transact(write=False) as cursor:
            cursor.execute(sql, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows


def not_text(error: UnicodeEncodeError) -> InputError:
    """What is said where a text holds half a character, as undecodable file names do."""
    return InputError(f"needed text that can be written as UTF-8, found {error.object[:40]!r}")


def like(text: str) -> str:
    """A pattern that matches just this text."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
