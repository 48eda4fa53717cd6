"""Conditions under which two machines build the same prompts from the same log."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from backcast.engine.log.code import python_version
from backcast.engine.models.tokenizers import QWEN_VOCABULARY

NONE = "none"
LIBRARIES = ("mistral-common", "llama-cpp-python", "sentence-transformers")
"""Libraries that count tokens and compare meanings. Where the first two are lacking a bound counts,
which is another prompt and no error."""


@cache
def conditions() -> Mapping[str, str]:
    """Return the conditions here, by name: beside the code all that decides a prompt."""
    found = {"Python": python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = NONE
    found["the vocabulary of Qwen2"] = "one" if QWEN_VOCABULARY.exists() else NONE
    return found


def unmet(needed: Mapping[str, str]) -> str:
    """Return the line about the first condition that does not hold here; empty where all do."""
    here = conditions()
    for name, value in needed.items():
        if here.get(name, NONE) != value:
            return f"needed {name} {value}, found {here.get(name, NONE)}"
    return ""
