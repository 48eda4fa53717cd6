"""Other systems, each a process of another Python (.venv-peers), asked a question a line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from scripts.benches.figures import Bench

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv-peers"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = HERE / "constraints-peers.txt"


class Needs(NamedTuple):
    """The packages of a script in `peers/`."""

    packages: str
    oldest: tuple[int, int]
    "The oldest Python that they run on."
    alone: str = ""
    "A package that is installed without its own requirements."


NEEDS = {
    "openhands_log": Needs("openhands-sdk", (3, 12)),
    "aider_map": Needs(
        "diskcache grep-ast mistral-common[sentencepiece] networkx numpy packaging pathspec"
        " pygments rich scipy tqdm tree-sitter-language-pack",
        (3, 10),
        "aider-chat",
    ),
}
QUIET = {
    "OPENHANDS_SUPPRESS_BANNER": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONHASHSEED": "0",  # aider's maps follow it
}


class PeerMissing(Exception):
    """Another system cannot be run here, for the reason in its message."""


class Peer(NamedTuple):
    """A running script of `peers/`."""

    process: subprocess.Popen[str]
    asking: IO[str]
    answers: IO[str]

    @classmethod
    def start(cls, bench: Bench, script: str) -> Self:
        """Install a script's packages and start it; `PeerMissing` where that fails."""
        _install(bench, NEEDS[script])
        process = subprocess.Popen(
            [str(PYTHON), str(HERE / "peers" / f"{script}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **QUIET},
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


def _install(bench: Bench, needs: Needs) -> None:
    if not PYTHON.exists():
        _run("venv", _newest_python(), "-m", "venv", "--without-pip", str(VENV))
    found = json.loads(
        _run("python", str(PYTHON), "-c", "import sys; print(list(sys.version_info[:2]))")
    )
    name = needs.alone or needs.packages.split()[0]
    if tuple(found) < needs.oldest:
        raise PeerMissing(
            f"{name} needs Python {needs.oldest[0]}.{needs.oldest[1]}, {VENV.name} has"
            f" {found[0]}.{found[1]}: remove it, set PEERS_PYTHON, and run again"
        )
    stamp = VENV / f".installed-{name}"
    if stamp.exists() and stamp.read_text() == CONSTRAINTS.read_text():
        return
    bench.say(f"installing {name} into {VENV.name}")
    pip = (sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-qq")
    pins = ("--disable-pip-version-check", "-c", str(CONSTRAINTS))
    _run("pip", *pip, *pins, *needs.packages.split())
    if needs.alone:
        # Its own pins fit neither the others' nor every Python.
        _run("pip", *pip, *pins, "--no-deps", "--ignore-requires-python", needs.alone)
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
