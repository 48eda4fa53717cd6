"""An agent's own work tree: made of one commit, compared with it afterwards.

It borrows the objects of the repository and shares nothing else with it: no refs, no settings, no
hooks, no stash. So an agent may commit, reset, or remove `.git` altogether. What it has changed is
read through a second git folder outside of its reach, which has no filters and no hooks.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.dispatch_events import ChangedFile
from backcast.domain.errors import InputError
from backcast.engine.log.importers.git_repository import (
    OURS,
    PASSED_ON,
    GitRepository,
    reason_of,
)

PLAIN = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false",
    "-c", "core.attributesFile=/dev/null", "-c", "core.excludesFile=/dev/null",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.quotePath=false",
    "-c", "submodule.recurse=false", "-c", "commit.gpgSign=false", "-c", "safe.directory=*",
)  # fmt: skip
"Settings under which git runs nothing that a repository names."
IGNORED = "__pycache__/\n*.py[co]\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n"
"Files that are no work of an agent."
CHANGES = {"A": "added", "M": "changed", "D": "deleted", "T": "of another type"}
APPLIED = ("--binary", "--whitespace=nowarn")
"How a patch is applied."
PATIENCE = 300
"Seconds that git may take for one answer."
FULL = 2**20
"Free bytes of a disk that is taken to be full."
LARGEST = 64 * 2**20
"Bytes of all files together that are held against the tests."


class TreeState(NamedTuple):
    """What an agent left, against the commit that it began with."""

    tree: str
    files: tuple[ChangedFile, ...]
    patch: bytes


class WorkTree:
    """An agent's work tree, and our own git folder for it."""

    def __init__(self, repository: GitRepository, folder: Path, commit: str) -> None:
        self.repository, self.commit = repository, commit
        self.path, self._own = folder / "work", folder / "ours.git"
        self._objects = os.path.realpath(repository.folder / "objects")

    def open(self) -> None:
        """Make our own git folder, which knows the files of the commit."""
        self.path.mkdir()
        self._bare(self._own)
        (self._own / "info").mkdir(exist_ok=True)
        (self._own / "info/exclude").write_text(IGNORED)
        self._ask("read-tree", self.commit)

    def patched(self, patch: bytes, *, merged: bool = False) -> str:
        """Return the tree of the commit with a patch, without writing any of its files.

        A patch that was made upon another commit is `merged`.
        """
        if patch:
            more = ["--3way"] if merged else []
            self._ask("apply", "--cached", *APPLIED, *more, asked=patch)
        return self._ask("write-tree").decode().strip()

    def make(self, patch: bytes = b"") -> None:
        """Write the files of the commit, with a fresh repository of the agent's own.

        A patch is applied to them, and shows in that repository as what is not committed.
        """
        self.open()
        self._bare(self.path / ".git")
        try:
            self._ask("checkout-index", "--all", "--force", "--index")
        except InputError:
            if (free := shutil.disk_usage(self.path).free) > FULL:
                raise
            raise InputError(
                f"{self.path}: needed room for a copy of {self.commit[:7]}, found {free:,} bytes:"
                " make room there, or set TMPDIR, and give the same command again"
            ) from None
        shutil.copyfile(self._own / "index", self.path / ".git/index")
        if patch:
            self._ask("apply", "--index", *APPLIED, asked=patch)
            git(self.path, {}, "add", "--all")

    def state(self, without: Sequence[str] = ()) -> TreeState:
        """Return what differs from the commit; `InputError` where git cannot tell.

        Files `without` are taken to be as they were.
        """
        self._ask("add", "--all", "--", ".", *(f":(exclude,literal){path}" for path in without))
        tree = self._ask("write-tree").decode().strip()
        pair = (self.commit, tree)
        names = self._ask("diff-tree", "-r", "-z", "--no-renames", "--name-status", *pair)
        parts = names.decode(errors="surrogateescape").split("\0")
        files = tuple(
            ChangedFile(path=path, change=CHANGES.get(letter, letter))
            for letter, path in zip(parts[0::2], parts[1::2], strict=False)
        )
        patch = self._ask("diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames",
                          *pair)  # fmt: skip
        return TreeState(tree, tuple(sorted(files, key=lambda file: file.path)), patch)

    def leading_out(self, before: str, tree: str) -> list[str]:
        """Return what a tree has anew that is no part of the project: links that lead out of it or
        into its git folder, and nested repositories; each with what it is."""
        raw = self._ask("diff-tree", "-r", "-z", "--no-renames", before, tree)
        parts = raw.decode(errors="surrogateescape").split("\0")
        found = list[str]()
        for about, path in zip(parts[0::2], parts[1::2], strict=False):
            _, mode, _, name, _ = about.split()
            if mode == "160000":
                found.append(f"a repository of its own, {path}")
            elif mode == "120000":
                target = os.fsdecode(self._ask("cat-file", "blob", name))
                if leads_out(path, target):
                    found.append(f"a link out of the project, {path} -> {target[:100]}")
        return found

    def bodies(self, tree: str) -> dict[str, bytes]:
        """Return the plain files of a tree by path; `InputError` where they are too large."""
        listed = self._ask("ls-tree", "-r", "-z", "-l", tree).decode(errors="surrogateescape")
        rows = [line.partition("\t") for line in listed.split("\0") if line]
        wanted = list[tuple[str, str]]()
        total = 0
        for about, _, path in rows:
            mode, kind, name, size = about.split()
            if kind == "blob" and mode != "120000":
                total += int(size)
                wanted.append((path, name))
        if total > LARGEST:
            raise InputError(
                f"needed files of up to {LARGEST:,} bytes to run their tests, found {total:,}"
            )
        asked = "".join(f"{name}\n" for _, name in wanted).encode()
        answer, at, bodies = self._ask("cat-file", "--batch", asked=asked), 0, {}
        for name_of, _ in wanted:
            end = answer.index(b"\n", at)
            length = int(answer[at:end].split()[2])
            bodies[name_of] = answer[end + 1 : end + 1 + length]
            at = end + length + 2
        return bodies

    def _bare(self, place: Path) -> None:
        """Make a git folder that borrows objects, without asking git, which takes longer."""
        (place / "objects/info").mkdir(parents=True)
        (place / "refs/heads").mkdir(parents=True)
        (place / "objects/info/alternates").write_text(f"{self._objects}\n")
        version = "1\n[extensions]\n\tobjectFormat = sha256" if len(self.commit) == 64 else "0"
        (place / "config").write_text(
            f"[core]\n\tbare = false\n\trepositoryformatversion = {version}\n"
        )
        (place / "HEAD").write_text("ref: refs/heads/main\n")
        (place / "refs/heads/main").write_text(f"{self.commit}\n")
        if (shallow := self.repository.folder / "shallow").exists():
            shutil.copyfile(shallow, place / "shallow")

    def _ask(self, *arguments: str, asked: bytes = b"", check: bool = True) -> bytes:
        named = {"GIT_DIR": str(self._own), "GIT_WORK_TREE": str(self.path)}
        return git(self.path, named, *arguments, asked=asked, check=check)


def leads_out(path: str, target: str) -> bool:
    """Return whether a link leads out of its tree, or into a git folder.

    Only steps up at the beginning are certain to pass no other link.
    """
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = next((at for at, step in enumerate(steps) if step != ".."), len(steps))
    return (
        target.startswith("/")
        or up > path.count("/")
        or any(step == ".." or step.lower() == ".git" for step in steps[up:])
    )


def git(
    place: Path, named: Mapping[str, str], *arguments: str, asked: bytes = b"", check: bool = True
) -> bytes:
    """Return git's answer under settings that run nothing; `InputError` if it fails."""
    program = shutil.which("git") or "git"
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            [program, "--no-pager", *PLAIN, *arguments], input=asked, capture_output=True,
            env={**kept, **OURS, **named}, cwd=place, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{place}: git gave no answer within {PATIENCE} s") from None
    except OSError as error:
        raise InputError(f"{place}: git could not be run: {error.strerror or error}") from None
    if check and done.returncode:
        raise InputError(f"{place}: {reason_of(done.stderr)}")
    return done.stdout
