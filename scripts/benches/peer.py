"""Processes that are asked a question a line; aider's map is one, by another Python."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from scripts.benches.figures import Bench

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv-peers"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = HERE / "constraints-aider.txt"


AIDER = "aider-chat"
"It is installed without its own pins, which fit neither the others' nor every Python."
NEEDED = (
    "diskcache grep-ast mistral-common[sentencepiece] networkx numpy packaging pathspec"
    " pygments rich scipy tqdm tree-sitter-language-pack"
)
"The packages of aider's own that its map uses."


class PeerMissing(Exception):
    """Another system cannot be run here, for the reason in its message."""


class Peer(NamedTuple):
    """The running script `aider_map.py`."""

    process: subprocess.Popen[str]
    asking: IO[str]
    answers: IO[str]

    @classmethod
    def start(cls, bench: Bench) -> Self:
        """Install the script's packages and start it; `PeerMissing` where that fails."""
        _install(bench)
        command = [str(PYTHON), "-P", str(HERE / "aider_map.py")]
        return cls.of(command, {**os.environ, "PYTHONHASHSEED": "0"})  # aider's maps follow it

    @classmethod
    def of(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start a command that answers a question a line."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process, process.stdin, process.stdout)

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a question; `PeerMissing` where the script has ended instead."""
        self.asking.write(json.dumps({"ask": question, **arguments}) + "\n")
        self.asking.flush()
        line = self.answers.readline()
        if not line:
            raise PeerMissing(
                f"it ended with exit code {self.process.wait()} when asked to {question}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerMissing(answer["error"])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.asking.close()
        self.answers.close()
        self.process.wait()


def _install(bench: Bench) -> None:
    if not PYTHON.exists():
        _run("venv", _newest_python(), "-m", "venv", "--without-pip", str(VENV))
    stamp = VENV / ".installed"
    if stamp.exists() and stamp.read_text() == CONSTRAINTS.read_text():
        return
    bench.say(f"installing {AIDER} into {VENV.name}")
    pip = (sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-qq")
    pins = ("--disable-pip-version-check", "-c", str(CONSTRAINTS))
    _run("pip", *pip, *pins, *NEEDED.split())
    _run("pip", *pip, *pins, "--no-deps", "--ignore-requires-python", AIDER)
    stamp.write_text(CONSTRAINTS.read_text())


def _newest_python() -> str:
    """Return PEERS_PYTHON, or the newest Python on the path that the pins know."""
    if python := os.environ.get("PEERS_PYTHON"):
        return python
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in ("3.13", "3.12"):
        for path in [shutil.which(f"python{name}"), *sorted(pyenv.glob(f"{name}.*/bin/python"))]:
            if path and not subprocess.run([path, "-V"], capture_output=True).returncode:
                return str(path)
    return sys.executable


def _run(what: str, *command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerMissing(f"{what}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise PeerMissing(f"{what}: {lines[-1].strip() if lines else 'failed'}")
    return done.stdout
