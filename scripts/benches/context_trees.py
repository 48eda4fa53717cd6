"""Git trees and bodies, read from a repository that need not have a work tree or all objects."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

TEST = re.compile(r"(^|/)tests?/|(^|/)(test_[^/]*|[^/]*_test|tests|conftest)\.py$")
FLAGS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=off")
MOST_MODULES = 10
"The most changed modules of a commit that is not passed over."


class Commit(NamedTuple):
    """A commit along first parents that is no merge."""

    sha: str
    parent: str
    message: str


class Change(NamedTuple):
    """A source module that a commit added or changed."""

    path: str
    before: str | None
    "The object before the commit; None where the commit added the module."
    after: str


class Repository:
    """A git repository whose trees and bodies are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = self._command("cat-file", "--batch")
        self._cat = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def name(self) -> str:
        """The last part of its path, without the parts that all mirrors share."""
        parts = [part for part in self.folder.resolve().parts if part not in ("repo", ".git")]
        return parts[-1].partition("+")[2] or parts[-1]

    def git(self, *arguments: str) -> str:
        """Return the output of a git command."""
        done = subprocess.run(self._command(*arguments), capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    def head(self) -> str:
        """Return the newest commit."""
        return self.git("rev-parse", "HEAD").strip()

    def body(self, oid: str) -> bytes | None:
        """Return the bytes of an object; None where the repository lacks it."""
        assert self._cat.stdin is not None
        assert self._cat.stdout is not None
        self._cat.stdin.write(f"{oid}\n".encode())
        self._cat.stdin.flush()
        head = self._cat.stdout.readline().split()
        if len(head) != 3:
            return None
        body = self._cat.stdout.read(int(head[2]))
        self._cat.stdout.read(1)
        return body

    def tree(self, sha: str) -> dict[str, str]:
        """Return the objects of the Python files that are no tests, by path, sorted."""
        objects = {}
        for line in self.git("ls-tree", "-r", "-z", sha).split("\0"):
            head, _, path = line.partition("\t")
            if path.endswith(".py") and not TEST.search(path) and head.startswith("100"):
                objects[path] = head.split()[2]
        return dict(sorted(objects.items()))

    def commits(self) -> Iterator[Commit]:
        """Yield the commits along first parents that are no merges, the newest first."""
        lines = self.git("log", "--first-parent", "-z", "--format=%H%n%P%n%B", "HEAD").split("\0")
        for line in lines:
            sha, parents, message = [*line.split("\n", 2), "", ""][:3]
            if len(parents.split()) == 1:
                yield Commit(sha, parents, message.strip())

    def changes(self, commit: Commit) -> list[Change]:
        """Return the source modules that a commit touched; none for a commit that is passed over.

        It is passed over for too many, or for one added and one removed, which may be the same.
        """
        raw = self.git("diff-tree", "-r", "-z", "--no-renames", commit.parent, commit.sha)
        tokens = raw.split("\0")
        changes, gone = [], False
        for head, path in zip(tokens[::2], tokens[1::2], strict=False):
            if not path.endswith(".py") or TEST.search(path):
                continue
            _, mode, before, after, status = head.split()
            gone = gone or status == "D"
            if status in "AM" and mode.startswith("100"):
                changes.append(Change(path, before if status == "M" else None, after))
        came = any(change.before is None for change in changes)
        return [] if len(changes) > MOST_MODULES or (gone and came) else changes

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "--no-replace-objects", "-C", str(self.folder), *FLAGS, *arguments]


class Checkout:
    """A folder with the source modules of one tree after another; only changes are written."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.objects: dict[str, str] = {}

    def show(self, tree: Mapping[str, str]) -> Path:
        """Write a tree to the folder."""
        for path in self._gone(tree):
            (self.folder / path).unlink()
        for path, oid in tree.items():
            if self.objects.get(path) != oid and (body := self.repository.body(oid)) is not None:
                file = self.folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(body)
                self.objects[path] = oid
        return self.folder

    def _gone(self, tree: Mapping[str, str]) -> Iterable[str]:
        gone = [path for path in self.objects if path not in tree]
        for path in gone:
            del self.objects[path]
        return gone
