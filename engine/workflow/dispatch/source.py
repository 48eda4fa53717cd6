"""The repository whose tasks are dispatched: what must hold of it before an agent comes."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.name_list import first_names
from backcast.engine.log.importers.git_repository import GitRepository, opened
from backcast.engine.workflow.dispatch.folders import held_folder
from backcast.engine.workflow.dispatch.work_tree import IGNORED, git

LISTED = 3
"Files that a refusal names."


class SourceRepository(NamedTuple):
    """A repository from which agents' work trees are made."""

    repository: GitRepository
    top: Path
    "The root of its work tree."
    commit: str
    notes: tuple[str, ...] = ()


def source_at(path: Path, ignoring: Sequence[Path] = ()) -> SourceRepository:
    """Open a repository; `InputError`, with how to go on, where agents would not see all of it.

    Changes of the files `ignoring` are no obstacle: the list of tasks, and the store.
    """
    repository = opened(path)
    top = _top(path, repository)
    place = {"GIT_DIR": str(repository.git_dir), "GIT_WORK_TREE": str(top)}
    listed = git(top, place, "ls-tree", "-r", "-z", repository.head)
    rows = [line.partition(b"\t") for line in listed.split(b"\0") if line]
    modules = [name.decode(errors="replace") for about, _, name in rows if about[:6] == b"160000"]
    if modules:
        raise InputError(
            f"{path}: needed a repository without submodules, found {first_names(modules, LISTED)}:"
            " an agent would get empty folders; dispatch in the submodule itself with --repo"
        )
    changed, unknown = _uncommitted(repository, top, ignoring)
    if changed:
        raise InputError(
            f"{path}: needed all work to be committed, since agents begin with"
            f" {repository.head[:7]}, found changes in {first_names(changed, LISTED)}:"
            " 'git commit' or 'git stash' them, and go on"
        )
    notes = list(repository.notes(repository.refs()))
    if unknown:
        notes.append(
            f"git does not know {first_names(unknown, LISTED)}: agents do not see such files"
        )
    attributes = [row for row in rows if row[2].rpartition(b"/")[2] == b".gitattributes"]
    if any(b"filter=" in git(top, place, "cat-file", "blob", about.split()[2].decode())
           for about, _, _ in attributes):  # fmt: skip
        notes.append("filters of .gitattributes do not run: agents see files as git stores them")
    return SourceRepository(repository, top, repository.head, tuple(notes))


def _top(path: Path, repository: GitRepository) -> Path:
    """Return the root of the work tree, found without asking the repository's settings."""
    start = (path if path.is_dir() else path.parent).resolve()
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise InputError(f"{path}: needed a repository with a work tree, found {repository.git_dir}")


def _uncommitted(
    repository: GitRepository, top: Path, ignoring: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Return files that differ from HEAD, and those that git does not know.

    The index is asked through a git folder of our own, so that no filter and no hook runs.
    """
    with held_folder(f"{top} status") as folder:
        own = folder / "git"
        (own / "objects/info").mkdir(parents=True)
        (own / "refs").mkdir()
        (own / "info").mkdir()
        objects = (repository.folder / "objects").resolve()
        (own / "objects/info/alternates").write_text(f"{objects}\n")
        (own / "HEAD").write_text(f"{repository.head}\n")
        version = "1\n[extensions]\n\tobjectFormat = sha256" if len(repository.head) == 64 else "0"
        (own / "config").write_text(f"[core]\n\trepositoryformatversion = {version}\n")
        known = repository.folder / "info/exclude"
        text = known.read_text(errors="surrogateescape") if known.is_file() else ""
        (own / "info/exclude").write_text(f"{text}\n{IGNORED}", errors="surrogateescape")
        if (index := repository.git_dir / "index").exists():
            shutil.copy2(index, own / "index")
        named = {"GIT_DIR": str(own), "GIT_WORK_TREE": str(top)}
        status = git(top, named, "status", "--porcelain=v1", "-z", "--untracked-files=normal",
                     "--no-renames", "--ignore-submodules=all")  # fmt: skip
    ignored = tuple(filter(None, (_within(top, file) for file in ignoring)))
    changed, unknown = list[str](), list[str]()
    for line in status.decode(errors="backslashreplace").split("\0"):
        name = line[3:]
        # A store has files beside it whose names begin with its own.
        ours = name in ignored or (line.startswith("??") and name.startswith(ignored or ("\0",)))
        if line and not ours:
            (unknown if line.startswith("??") else changed).append(name)
    return sorted(changed), sorted(unknown)


def _within(top: Path, file: Path) -> str:
    """Return a file's path in the repository; empty where it lies elsewhere."""
    resolved = file.resolve()
    return resolved.relative_to(top).as_posix() if resolved.is_relative_to(top) else ""


def tasks_within(source: SourceRepository, file: Path) -> list[str]:
    """Return the path of the list of tasks in the repository, if it lies in it."""
    found = _within(source.top, file)
    return [found] if found else []
