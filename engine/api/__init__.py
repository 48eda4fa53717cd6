"""Backcast: every prompt of a code-generation run, recorded, rebuilt and tested.

>>> import backcast
>>> with backcast.open_log("fixtures/logs/till.jsonl") as store:
...     till = store.task("till")
...     till.prompt(79).tokens, till.at(40).progress.status
(1374, 'generating')
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import (
        BackcastError,
        Known,
        ModelProfile,
        Pipeline,
        Policy,
        Prompt,
        Store,
        Task,
        assert_as_likely,
        assert_contains,
        assert_no_stale,
        assert_prefix_shared,
        assert_same_context,
        assert_within_budget,
        diff,
        open,
        open_log,
        policy,
        profile,
        regress,
    )  # fmt: skip

__all__ = [
    "BackcastError", "Known", "ModelProfile", "Pipeline", "Policy", "Prompt", "Store", "Task",
    "assert_as_likely", "assert_contains", "assert_no_stale", "assert_prefix_shared",
    "assert_same_context", "assert_within_budget", "diff", "open", "open_log", "policy", "profile",
    "regress",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the library when it is first asked for: commands and the plugin start without it."""
    if name == "__version__":
        from backcast.engine.interfaces.installed import VERSION

        return VERSION
    if name not in __all__:
        raise AttributeError(f"module 'backcast' has no attribute {name!r}")
    from . import library

    return getattr(library, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
