"""What a model in this process has read and may read again: states of its cache, kept under caps.

States form a tree by what their tokens begin with: of a kept state every beginning can be used, so
one that another begins with is held by that one. What is dropped first is worth least: the tokens
that nobody else holds, by how often they were used, how long ago, and the bytes that they take.
"""

import json
import logging
from array import array
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import uuid4

from backcast.engine.models.prefixes import shared

log = logging.getLogger("backcast")

LEAST = 64
"Tokens that must be saved by a kept state: fewer are read again as fast."
MIB = 1 << 20
FORM = "backcast-state-1"
HEADER = 4096
"The longest first line of a file that is looked at."


class StateCaps(NamedTuple):
    """How many bytes of states are kept."""

    memory: int = 0
    disk: int = 0
    folder: Path = Path()
    "For those on disk, which later processes find again."


NO_STATES = StateCaps()


@runtime_checkable
class KeepsStates(Protocol):
    """A model in this process, which can keep what it has read."""

    def keep(self, caps: StateCaps) -> None: ...


class KeptState:
    """A state with the tokens that it has read."""

    def __init__(self, tokens: Sequence[int], size: int, used: int) -> None:
        self.tokens, self.size, self.used = list(tokens), size, used
        self.uses = 0
        self.data: bytes | None = None
        "None where it is on disk alone."
        self.file: Path | None = None


class StateTree:
    """The kept states of one model with one window."""

    def __init__(self, model: str, caps: StateCaps) -> None:
        """`model` tells a file from every other whose states could differ."""
        self.model, self.caps, self.nodes = model, caps, list[KeptState]()
        self.notes: list[str] = []
        "Files that were left alone, and why."
        self._number = 0
        if caps.disk > 0:
            self._open()

    def longest(self, tokens: Sequence[int]) -> tuple[KeptState, int] | None:
        """Return the state that shares the longest beginning with tokens, and how long it is."""
        found = max(self.nodes, key=lambda node: shared(node.tokens, tokens), default=None)
        return (found, shared(found.tokens, tokens)) if found else None

    def keep(self, tokens: Sequence[int], data: bytes) -> None:
        """Keep a state, unless another holds it; drop what is worth less where it is too much."""
        size = len(data)
        if size > max(self.caps.memory, self.caps.disk):
            return
        held = self.longest(tokens)
        if held and held[1] == len(tokens):
            self._touch(held[0])
            return
        within = [n for n in self.nodes if len(n.tokens) == shared(n.tokens, tokens)]
        for node in within:  # the new one holds them
            self.drop(node)
        self._number += 1
        node = KeptState(tokens, size, self._number)
        self.nodes.append(node)
        if size <= self.caps.memory:
            node.data = data
        if size <= self.caps.disk:
            self._write(node, data)
        self._shrink()

    def data_of(self, node: KeptState) -> bytes | None:
        """Return a state; None where its file is not what was written."""
        self._touch(node)
        node.uses += 1
        if node.data is not None:
            return node.data
        assert node.file is not None
        try:
            line, _, body = node.file.read_bytes().partition(b"\n")
            header, size = json.loads(line), 4 * len(node.tokens)
            if sha256(body).hexdigest() != header["digest"] or len(body) != size + node.size:
                raise ValueError("it is damaged")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._note(node.file, str(getattr(error, "strerror", None) or error))
            self.drop(node)
            return None
        return body[size:]

    def drop(self, node: KeptState) -> None:
        """Forget a state, and remove its file."""
        self.nodes.remove(node)
        self._remove(node)

    @property
    def memory(self) -> int:
        """Bytes that are kept in memory."""
        return sum(node.size for node in self.nodes if node.data is not None)

    @property
    def disk(self) -> int:
        """Bytes of states that are kept on disk."""
        return sum(node.size for node in self.nodes if node.file is not None)

    def _touch(self, node: KeptState) -> None:
        self._number += 1
        node.used = self._number

    def _worth(self, node: KeptState) -> float:
        others = (shared(node.tokens, one.tokens) for one in self.nodes if one is not node)
        own = len(node.tokens) - max(others, default=0)
        age = self._number - node.used
        return own * (1 + node.uses) / ((1 + age) * max(1, node.size))

    def _shrink(self) -> None:
        while self.memory > self.caps.memory:
            least = min((n for n in self.nodes if n.data is not None), key=self._worth)
            least.data = None
            if least.file is None:
                self.nodes.remove(least)
        while self.disk > self.caps.disk:
            least = min((n for n in self.nodes if n.file is not None), key=self._worth)
            self._remove(least)
            if least.data is None:
                self.nodes.remove(least)

    # On disk

    def _open(self) -> None:
        """Find the states that an earlier process has kept."""
        with suppress(OSError):
            self.caps.folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(self.caps.folder.glob("*.kv")):
            try:
                node = self._read(file)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                self._note(file, str(getattr(error, "strerror", None) or error))
                continue
            self.nodes.append(node)
        self._shrink()

    def _read(self, file: Path) -> KeptState:
        with file.open("rb") as lines:
            try:
                header = json.loads(lines.readline(HEADER))
            except ValueError:
                raise ValueError("it is no state that was kept here") from None
            if not isinstance(header, dict) or header.get("form") != FORM:
                raise ValueError("it is no state that was kept here")
            if header["model"] != self.model:
                raise ValueError("it is of another model, or another window")
            count, size = int(header["tokens"]), int(header["size"])
            tokens = array("i")
            whole = file.stat().st_size == lines.tell() + 4 * count + size
            if count < 1 or size < 1 or not whole:
                raise ValueError("it is damaged")
            tokens.frombytes(lines.read(4 * count))
        self._number += 1
        node = KeptState(tokens.tolist(), size, self._number)
        node.file = file
        return node

    def _write(self, node: KeptState, data: bytes) -> None:
        tokens = array("i", node.tokens).tobytes()
        digest = sha256(tokens)
        name = digest.hexdigest()[:24]
        digest.update(data)
        header = {
            "form": FORM, "model": self.model, "tokens": len(node.tokens), "size": len(data),
            "digest": digest.hexdigest(),
        }  # fmt: skip
        file = self.caps.folder / f"{name}-{sha256(self.model.encode()).hexdigest()[:8]}.kv"
        part = file.with_suffix(f".{uuid4().hex[:8]}")
        try:
            part.write_bytes(b"%s\n%s%s" % (json.dumps(header).encode(), tokens, data))
            part.replace(file)
        except OSError as error:
            self._note(file, f"it cannot be written: {error.strerror}")
            with suppress(OSError):
                part.unlink()
            return
        node.file = file

    def _remove(self, node: KeptState) -> None:
        if node.file is not None:
            with suppress(OSError):
                node.file.unlink()
        node.file = None

    def _note(self, file: Path, why: str) -> None:
        self.notes.append(f"{file}: this kept prefix is not used: {why}")
        log.warning("%s", self.notes[-1])
