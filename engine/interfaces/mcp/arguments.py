"""The tools as a client lists them, and the arguments of a call, checked."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from backcast.domain.errors import InputError

LEAST, USUAL, MOST = 150, 1_500, 25_000
"Tokens that an answer may be asked to keep to."
DIGITS = 12
LONGEST = 2_000
"Characters of one argument."


class ToolArgument(NamedTuple):
    """An argument of a tool."""

    about: str = ""
    default: str | int = ""
    limits: tuple[int, int] = (0, 0)
    "The least and the most of a number."
    required: bool = False

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        whole = isinstance(self.default, int)
        found: dict[str, Any] = {"type": "integer" if whole else "string"}
        if self.default:
            found["default"] = self.default
        if self.about:
            found["description"] = self.about
        return found

    def read(self, name: str, value: object) -> str | int:
        """Return the value of an argument; `InputError` says what was needed."""
        if value is None and not self.required:
            return self.default
        if isinstance(self.default, int):
            return self._number(name, value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise InputError(f"{name}: needed a text, found {_short(value)}")
        if len(value) > LONGEST:
            raise InputError(f"{name}: needed at most {LONGEST:,} characters, found {len(value):,}")
        return value.encode(errors="replace").decode().strip()

    def _number(self, name: str, value: object) -> int:
        least, most = self.limits
        needed = f"{name}: needed a whole number of {least:,} to {most:,}"
        if isinstance(value, str) and value.strip().isdecimal() and len(value) < DIGITS:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{needed}, found {_short(value)}")
        if not least <= value <= most:
            raise InputError(f"{needed}, found {_short(value)}")
        return value


def _short(value: object) -> str:
    if value is None:
        return "none"
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python prints
        return "a longer one"
    return text if len(text) <= 60 else f"{text[:60]}…"


class ToolForm(NamedTuple):
    """A tool as it is listed."""

    about: str
    arguments: Mapping[str, ToolArgument]

    def schema(self) -> dict[str, Any]:
        """Return its arguments as JSON Schema."""
        needed = [name for name, one in self.arguments.items() if one.required]
        properties = {name: one.schema() for name, one in self.arguments.items()}
        return {"type": "object", "properties": properties, "required": needed}

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every argument of a call, checked; `InputError` says what was needed."""
        for name in given:
            if name not in self.arguments:
                must = [other for other, one in self.arguments.items() if one.required]
                near = get_close_matches(str(name), self.arguments, 1, 0.5)
                near = near or [other for other in must if other not in given][:1]
                hint = f"; did you mean {near[0]}?" if near else ""
                known = ", ".join(f"{other} (required)" if other in must else other
                                  for other in self.arguments)  # fmt: skip
                raise InputError(f"needed arguments of {known}, found {_short(name)}{hint}")
        found = {name: one.read(name, given.get(name)) for name, one in self.arguments.items()}
        for name, argument in self.arguments.items():
            if argument.required and not found[name]:
                raise InputError(f"{name}: needed a text, found none")
        return found


_TASK = ToolArgument("name of a run, as find lists them", required=True)
_EVENT = "event number, 'step N', or a time"
_ROOM = {
    "max_tokens": ToolArgument(default=USUAL, limits=(LEAST, MOST)),
    "profile": ToolArgument("whose tokens count: qwen3-8b-32k, ..."),
}
FORMS: Mapping[str, ToolForm] = {
    "find": ToolForm(
        "Search recorded runs: code, prompts, answers. Without a query, list the runs.",
        {
            "query": ToolArgument(),
            "task": ToolArgument("one run; else all"),
            "at": ToolArgument(f"as it was then: {_EVENT}"),
            "limit": ToolArgument(default=10, limits=(1, 100)),
            "cursor": ToolArgument(default=0, limits=(0, 100_000)),
            **_ROOM,
        },
    ),
    "brief": ToolForm(
        "What a run is, how far it came, its troubles, map and code summaries.",
        {
            "task": _TASK,
            "at": ToolArgument(),
            "focus": ToolArgument("words: what to summarise first"),
            **_ROOM,
        },
    ),
    "stale": ToolForm(
        "What was shown or summarised and no longer holds, since which event.",
        {"task": _TASK, "node": ToolArgument(), "at": ToolArgument(), **_ROOM},
    ),
    "explain": ToolForm(
        "Why a step failed; what its prompt held, what fell out and why. With node, why that was"
        " in or out.",
        {
            "task": _TASK,
            "event": ToolArgument(f"{_EVENT}; else the last trouble"),
            "node": ToolArgument("path::name, or a text in the prompt"),
            **_ROOM,
        },
    ),
    "compare": ToolForm(
        "Two prompts of a run: what came, went, broke the prefix cache. Without event, all prompts"
        " in a row.",
        {
            "task": _TASK,
            "event": ToolArgument(_EVENT),
            "with_event": ToolArgument("else the prompt before"),
            "policy": ToolArgument("or: the same prompt under this policy"),
            **_ROOM,
        },
    ),
}
"The tools, by name."
