"""Repositories and agents for the benches of dispatches."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from backcast.domain.errors import InputError
from backcast.engine.workflow.dispatch.agents import AgentForm, agent_of
from scripts.benches.figures import ROOT, Bench

AGENT = ROOT / "tests/dispatched_agent.py"
"The agent whose first argument says what it does."


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody with a name."""
    named = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    done = subprocess.run(["git", *named, *arguments], cwd=folder, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout


def committed(folder: Path, message: str) -> None:
    """Commit all that stands in a folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", message)


def fresh(bench: Bench, name: str) -> Path:
    """Return a new folder; what an earlier run left under the name is removed."""
    folder = bench.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def copies(bench: Bench, count: int, name: str = "claims") -> list[Path]:
    """Clone the named repositories; `InputError` where there are too few."""
    if len(bench.repositories) < count:
        raise InputError(f"needed {count} git repositories, found {len(bench.repositories)}")
    found = []
    for number, path in enumerate(bench.repositories[:count]):
        target = fresh(bench, f"{name}-{number}")
        git(bench.folder, "clone", "-q", "--no-hardlinks", str(path.resolve()), str(target))
        found.append(target)
    return found


def agent(*words: str) -> AgentForm:
    """Return the agent that does what the words say."""
    return agent_of(f"cmd: {shlex.join([sys.executable, str(AGENT), *words])}")


@contextmanager
def own_temporary() -> Iterator[Path]:
    """Let agents' folders be made in a place of their own, so that what is left is seen."""
    import tempfile

    before = os.environ.get("TMPDIR")
    with TemporaryDirectory(prefix="bench-dispatch-") as folder:
        os.environ["TMPDIR"], tempfile.tempdir = folder, None
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = None
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
