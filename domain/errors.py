"""Errors inside Backcast. (Failures outside, in a model or a tool, are facts.)

BackcastError
├── InputError            an argument, file or setting that is not what was needed
│   ├── BudgetExceededError  required items do not fit, even at their lowest level
│   ├── MissingExtraError a package that only some uses need
│   ├── MomentError       a time, position or commit that names no moment of the log
│   └── UnknownTaskError  a task that the store does not hold
├── ModelError            a model gave no answer
├── SandboxError          this machine cannot run checks as they are to be run
├── WorkerError           a worker process was ended from outside
└── StoreError            the store cannot do what was asked
    ├── ConflictError     the task has moved on, or holds other facts at that version
    ├── UnavailableError  read-only, locked, full, unreachable, or not a store at all
    └── DamagedError      a row or blob that differs from what was written
"""

import re
from collections.abc import Sequence


class BackcastError(Exception):
    """The root of all errors. Its text is one line: what was needed and what was found.

    >>> import backcast
    >>> try:
    ...     backcast.profile("gpt")
    ... except backcast.BackcastError as error:
    ...     print(str(error)[:32])
    needed a profile of mistral-7b-8
    """


class InputError(BackcastError):
    """An argument, file or setting that is not what was needed."""


class BudgetExceededError(InputError):
    """Required items that do not fit, even at their lowest level of detail."""

    def __init__(self, needed: int, available: int, items: tuple[str, ...]) -> None:
        self.needed, self.available, self.items = needed, available, items
        shown = ", ".join(items[:5]) + (" ..." if len(items) > 5 else "")
        super().__init__(
            f"needed {needed:,} tokens for the required items, found {available:,}: {shown};"
            f" choose a profile with a larger context"
        )


CLONED = {
    "mistral": "core", "record": "core", "mcp": "core",
    "postgres": "light", "remote": "light", "dask": "light",
}  # fmt: skip
"The least of `scripts/install` that brings an extra into a clone; the others come with `all`."
BRINGS = {"semantic": " (PyTorch comes with it)", "llama": " (a C++ compiler builds it)"}
_EXTRA = re.compile(r"needs the extra '(\w+)': ")


def install_advice(extra: str) -> str:
    """Return how an extra is installed, in words that a shell takes as they are.

    >>> install_advice("mistral")
    "pip install 'backcast[mistral]', or in a clone scripts/install core"
    """
    clone = f"scripts/install {CLONED.get(extra, 'all')}"
    return f"pip install 'backcast[{extra}]'{BRINGS.get(extra, '')}, or in a clone {clone}"


def extra_lacking(reason: str) -> str:
    """Return the extra for want of which something was not done, as a reason tells; else empty.

    >>> extra_lacking(str(MissingExtraError("counting as Mistral does", "mistral")))
    'mistral'
    """
    found = _EXTRA.search(reason)
    return found[1] if found else ""


class MissingExtraError(InputError):
    """A package that only some uses need, and that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra {extra!r}: {install_advice(extra)}")


class MomentError(InputError):
    """A time, position or commit that names no moment of the log."""


class UnknownTaskError(InputError):
    """A task that the store does not hold."""

    def __init__(self, task_id: str, near: Sequence[str] = ()) -> None:
        self.task_id, self.near = task_id, tuple(near)
        hint = f"; near it: {', '.join(near)}" if near else ""
        super().__init__(f"no task {task_id!r} in this store{hint} ('backcast tasks' lists all)")


class ModelError(BackcastError):
    """A model gave no answer. The log has the question, which can be asked again."""

    def __init__(self, message: str, kind: str = "unavailable") -> None:
        self.kind = kind
        """unavailable (not there, or it failed), timeout, overflow (the prompt is too long for
        it), refused (it does not take such a request), garbled (an answer that is none), cancelled
        (nobody waits for it any more), or budget (too little of it is left for the call)."""
        super().__init__(message)


class SandboxError(BackcastError):
    """This machine cannot run checks as they are to be run, so none was run."""


class WorkerError(BackcastError):
    """A worker process was ended from outside, in the midst of its work."""


class StoreError(BackcastError):
    """The store cannot do what was asked; nothing of the request was written."""


class ConflictError(StoreError):
    """Another writer came first, or other facts stand at that version."""

    def __init__(self, task_id: str, expected: int, found: int, reason: str = "") -> None:
        self.task_id, self.expected, self.found = task_id, expected, found
        detail = reason or "read the events since, decide again, and append after the last one"
        super().__init__(
            f"task {task_id!r}: expected to append after version {expected},"
            f" found version {found}: {detail}"
        )


class UnavailableError(StoreError):
    """The store is read-only, locked, full, unreachable, or not a store at all."""


class DamagedError(StoreError):
    """A row or blob that differs from what was written."""
