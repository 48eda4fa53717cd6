"""The code of an earlier commit, in a worktree of its own, as the control of the same run.

Its packages stand at the top of its tree under other names than today's; so a script that runs by
either code imports nothing but the benches, whose names are the same in both.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.benches.figures import ROOT, Bench
from scripts.benches.peer import Peer, PeerMissing

COMMIT = "2677833"
"The commit that speed is measured beside."
WINDOWS = """
import json, sys
from pathlib import Path
from scripts.benches.figures import Bench
from scripts.benches.regress_windows import windows
asked = json.load(sys.stdin)
bench = Bench(Path(asked["folder"]), False, [Path(path) for path in asked["repositories"]])
print(json.dumps(windows(bench, asked["count"])))
"""


class Control:
    """A worktree of the earlier commit, and a folder for the logs that its code makes."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder

    def asked(self, *arguments: str, question: Any) -> Any:
        """Return the JSON that Python prints by the control's code, asked for JSON."""
        command = (sys.executable, *arguments)
        done = subprocess.run(
            command, input=json.dumps(question), stdout=subprocess.PIPE, text=True,
            cwd=self.tree, env=environment(self.tree),
        )  # fmt: skip
        if done.returncode:
            raise PeerMissing(f"its code ended with exit code {done.returncode}")
        return json.loads(done.stdout)

    def windows(self, repositories: Sequence[Path], count: int) -> list[list[Any]]:
        """Return the windows that the control's own bench takes, after its own imports."""
        question = {"folder": str(self.folder), "count": count}
        paths = [str(path.resolve()) for path in repositories]
        return list(self.asked("-c", WINDOWS, question=question | {"repositories": paths}))

    def measured(self, runs: Sequence[Sequence[Any]], processes: int) -> dict[str, Any]:
        """Return the seconds, prompts and processor seconds of windows, by its own bench."""
        question = {"runs": runs, "processes": processes}
        return dict(self.asked("-m", "scripts.benches.regress_speed", question=question))


@contextmanager
def control(bench: Bench, commit: str = COMMIT) -> Iterator[Control]:
    """Make a worktree of an earlier commit for as long as the block lasts.

    `PeerMissing` where this checkout does not hold that commit. Logs that its code imports are
    kept beside the bench's own.
    """
    tree, folder = bench.folder.resolve() / f"tree-{commit}", bench.folder.resolve() / commit
    _removed(tree)
    _git("worktree", "add", "--detach", "--force", str(tree), commit)
    folder.mkdir(exist_ok=True)
    if (tree / "scripts" / "links").exists():  # the one package of that tree, as links
        (tree / ".venv" / "lib" / "python3" / "site-packages").mkdir(parents=True)
        subprocess.run(["sh", str(tree / "scripts" / "links")], check=True)
    try:
        yield Control(tree, folder)
    finally:
        _removed(tree)


def started(script: Path, tree: Path) -> Peer:
    """Start a script that answers a question a line, by the code of a tree."""
    return Peer.of([sys.executable, "-P", str(script)], environment(tree))


def environment(tree: Path) -> dict[str, str]:
    """Return the environment in which Python runs the code of a tree."""
    path = f"{tree / '.venv' / 'src'}{os.pathsep}{tree}"
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def _removed(tree: Path) -> None:
    if tree.exists():
        _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PeerMissing(f"git {arguments[0]}: {(done.stderr.splitlines() or ['failed'])[-1]}")
