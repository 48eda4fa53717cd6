"""Logs of agents where the agents keep them, for `backcast import FORMAT --recent`."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.terminal import escaped, message, size_text


class AgentFolder(NamedTuple):
    """Where an agent keeps its logs."""

    agent: str
    variables: tuple[str, ...]
    "Environment variables that name the folder; the first that is set counts."
    homes: tuple[str, ...]
    "Else these, under the home folder."
    patterns: tuple[str, ...]
    without: str = ""
    "How the names begin of files that are no log of their own."


FOLDERS = {
    "claude-code": AgentFolder(
        "Claude Code", ("CLAUDE_CONFIG_DIR",), (".claude", "$XDG_CONFIG_HOME/claude"),
        ("projects/*/*.jsonl",), "agent-",
    ),
    "codex": AgentFolder(
        "Codex", ("CODEX_HOME",), (".codex",),
        ("sessions/*/*/*/rollout-*.jsonl", "sessions/*/*/*/rollout-*.jsonl.zst",
         "sessions/rollout-*.jsonl", "archived_sessions/rollout-*.jsonl",
         "archived_sessions/rollout-*.jsonl.zst"),
    ),
    "pi": AgentFolder(
        "pi", ("PI_CODING_AGENT_DIR",), (".pi/agent",), ("sessions/*/*.jsonl", "sessions/*.jsonl")
    ),
    "opencode": AgentFolder(
        "opencode", (), ("$XDG_DATA_HOME/opencode",), ("opencode.db", "opencode-*.db")
    ),
    "qwen": AgentFolder("Qwen Code", ("QWEN_HOME",), (".qwen",), ("projects/*/chats/*.jsonl",)),
}  # fmt: skip
"By the word of `backcast import`."
XDG = {"XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share"}
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class FoundLog(NamedTuple):
    """A log of an agent."""

    path: Path
    changed: float
    size: int


def folders_of(format: str, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders in which an agent would keep its logs."""
    place = FOLDERS[format]
    for name in place.variables:
        if given := environment.get(name):
            return [Path(given).expanduser()]
    found = []
    for home in place.homes:
        first, _, rest = home.partition("/")
        base = environment.get(first[1:]) if first.startswith("$") else None
        home = home if first[:1] != "$" else f"{XDG[first[1:]]}/{rest}"
        found.append(Path(base) / rest if base else Path.home() / home)
    return found


def found_logs(format: str) -> list[FoundLog]:
    """Return the logs of an agent, the latest first. `InputError` where there are none."""
    place, folders, found = FOLDERS[format], folders_of(format), dict[Path, FoundLog]()
    for folder in folders:
        try:
            found |= {log.path: log for log in _logs_in(folder, place)}
        except OSError as error:
            raise InputError(f"{escaped(str(folder))}: {error.strerror}") from None
    if not found:
        looked = " and ".join(f"{folder}/{place.patterns[0]}" for folder in folders)
        raise InputError(f"needed a log of {place.agent}, found none: looked for {looked}")
    return sorted(found.values(), key=lambda log: (-log.changed, str(log.path)))


def _logs_in(folder: Path, place: AgentFolder) -> Iterator[FoundLog]:
    for pattern in place.patterns:
        for path in folder.glob(pattern):
            if path.is_file() and not (place.without and path.name.startswith(place.without)):
                stated = path.stat()
                yield FoundLog(path, stated.st_mtime, stated.st_size)


def chosen_log(format: str, count: int) -> str:
    """Return the latest log of an agent; of several, the one that the person chooses."""
    logs, agent = found_logs(format), FOLDERS[format].agent
    for number, log in enumerate(logs[:count], 1):
        counted = f"{number}. " if count > 1 else ""
        age = _age(time.time() - log.changed)
        message(f"{counted}{agent}  {escaped(str(log.path))}  {age} ago  {size_text(log.size)}")
    if len(logs) > count:
        message(f"and {len(logs) - count:,} older")
    if count == 1 or len(logs) == 1:
        return str(logs[0].path)
    try:
        most = click.IntRange(1, min(count, len(logs)))
        number = click.prompt("which", type=most, default=1, err=True)
    except click.Abort:
        raise InputError("needed the number of a log, found none: name its PATH") from None
    return str(logs[number - 1].path)


def _age(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return "0 seconds"
