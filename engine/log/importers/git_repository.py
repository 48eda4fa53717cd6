"""A git repository that is only read, and answers alike under every configuration.

Two things are asked of the repository itself, in an environment of our own: where it lies, and
which commits its names stand for. Everything else is asked of an empty repository, which comes
with this package and borrows the objects. So nothing that the repository, its user or the machine
configures has a say: no attributes, grafts, replaced objects, filters or hooks, and nothing is
fetched.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError

PASSED_ON = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP",
)  # fmt: skip
"The variables of the user that git sees: those by which it starts."
TRUST = (
    "HOME", "XDG_CONFIG_HOME", "USERPROFILE", "SUDO_UID", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_",
)  # fmt: skip
"The beginnings of the variables that tell git which repositories its user trusts."
OURS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": os.devnull,
    "XDG_CONFIG_HOME": os.devnull,
    "LC_ALL": "C",
}
PATIENCE, SOON = 600, 20
"""Seconds that git may take for one answer, and for one that reads no history; it reads every file
that a configuration includes."""
LARGEST = 2**20
"Bytes that are read of a list of commits."
EMPTY = Path(__file__).parent / "empty_repositories"
"A git folder without objects for each kind of object names."


class GitRepository(NamedTuple):
    """An open repository: its names, and the empty one through which its objects are read."""

    path: Path
    "As the user named it."
    folder: Path
    "The repository's own folder, which the linked worktrees share."
    git_dir: Path
    empty: Path
    "The git folder through which the objects are read."
    environment: Mapping[str, str]
    "What a process needs to see the objects, and nothing else."
    head: str

    def command(self, *arguments: str) -> list[str]:
        """Return the command for a question about objects; it needs `environment`."""
        return [_program(self.path), "--no-pager", *arguments]

    def ask(self, *arguments: str, asked: bytes = b"") -> bytes:
        """Return git's answer to a question about objects; `InputError` if it fails."""
        return _answer(self.path, self.command(*arguments), self.environment, self.empty, asked)

    def refs(self) -> dict[str, str]:
        """Return the object of each ref, by its full name; refs that are broken are left out."""
        return _refs(self.path, self.git_dir, "refs")

    def peeled(self, objects: Sequence[str]) -> dict[str, str]:
        """Return the object behind each tag; others, and those that are lacking, stand as given."""
        asked = "".join(f"{name}^{{}}\n" for name in objects).encode()
        answer = self.ask("cat-file", "--batch-check=%(objectname)", asked=asked)
        found = answer.decode().split("\n")[: len(objects)]
        return {
            name: name if line.endswith(("missing", "ambiguous")) else line
            for name, line in zip(objects, found, strict=True)
        }

    def notes(self, refs: Mapping[str, str]) -> list[str]:
        """Return what the reader of a history with these refs must know."""
        notes = []
        if _lines(self.folder / "shallow"):
            notes.append("a shallow clone: history begins at its oldest commit")
        if any((self.folder / "objects/pack").glob("*.promisor")):
            notes.append("a partial clone: objects that are not here are not fetched")
        replaced = sum(name.startswith("refs/replace/") for name in refs)
        grafted = len(_lines(self.folder / "info/grafts"))
        if replaced or grafted:
            notes.append(
                f"the history is read as it was committed: {replaced} replaced objects"
                f" (refs/replace) and {grafted} grafts (info/grafts) are not followed"
            )
        if not _is_named(self.path, self.git_dir):
            notes.append(
                f"this folder lies in the repository {self.git_dir}: all of it is imported"
            )
        place = self.path.parent if self.path.name == ".git" else self.path
        if (place / ".git").is_file() and not self.git_dir.is_relative_to(place.resolve()):
            notes.append(f"{place / '.git'} is a file that leads to {self.git_dir}: that is read")
        return notes


def opened(path: Path) -> GitRepository:
    """Open the repository at a path; `InputError` if there is none, or none with a commit."""
    try:
        place = path.parent if path.name == ".git" and path.is_file() else path
        found = "" if place.is_dir() else "a file" if place.exists() else "no such folder"
    except OSError as error:
        found = error.strerror or str(error)
    if found:
        raise InputError(f"{path}: needed a git repository, found {found}")
    git_dir = _located(path, place)
    about = _ask_itself(path, git_dir, "rev-parse", "--show-object-format", "--git-common-dir",
                        seconds=SOON)  # fmt: skip
    format, _, common = about.partition(b"\n")
    folder, empty = Path(_path(common, git_dir)), EMPTY / os.fsdecode(format)
    if not empty.is_dir():
        raise InputError(f"{path}: needed objects named by sha1 or sha256, found {empty.name}")
    named = {"GIT_DIR": str(empty), "GIT_OBJECT_DIRECTORY": os.path.realpath(folder / "objects")}
    if (folder / "shallow").exists():
        named["GIT_SHALLOW_FILE"] = os.path.realpath(folder / "shallow")
    return GitRepository(path, folder, git_dir, empty, _closed(named), _head(path, git_dir))


def _located(path: Path, place: Path) -> Path:
    """Return the git folder for a path as git finds it, for us or else for its user."""
    command = [_program(path), "rev-parse", "--absolute-git-dir"]
    try:
        found = _answer(path, command, _closed(), place, seconds=SOON)
    except InputError as error:
        trusting = {name: value for name, value in os.environ.items() if name.startswith(TRUST)}
        try:
            found = _answer(
                path, command, {**_kept(), "LC_ALL": "C", **trusting}, place, seconds=SOON
            )
        except InputError:
            raise error from None
    return Path(_path(found, place))


def _ask_itself(path: Path, git_dir: Path, *arguments: str, seconds: int = PATIENCE) -> bytes:
    """Return the answer of the repository itself, for questions that read no objects."""
    # Its own folder as work tree stands in for any that it configures, which may be gone.
    named = {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(git_dir)}
    command = [_program(path), "--no-pager", *arguments]
    return _answer(path, command, _closed(named), git_dir, seconds=seconds)


def _program(path: Path) -> str:
    """Return where git lies, looked up outside of the repository, whatever PATH says of `.`."""
    program = shutil.which("git")
    if program is None:
        raise InputError(f"{path}: needed git, found no such program on PATH")
    return os.path.abspath(program)


def _refs(path: Path, git_dir: Path, *under: str) -> dict[str, str]:
    form = "--format=%(refname)%00%(objectname)%00"
    parts = _ask_itself(path, git_dir, "for-each-ref", form, *under).split(b"\0")
    names = (part.removeprefix(b"\n").decode(errors="backslashreplace") for part in parts[0::2])
    return dict(zip(names, (part.decode() for part in parts[1::2]), strict=False))


def _head(path: Path, git_dir: Path) -> str:
    """Return the object that HEAD stands for; `InputError` that tells why there is none."""
    try:
        return _ask_itself(path, git_dir, "rev-parse", "--verify", "HEAD").decode().strip()
    except InputError:
        branches = [name.split("/", 2)[2] for name in _refs(path, git_dir, "refs/heads")]
    try:
        named = (git_dir / "HEAD").read_bytes()[:1000].decode(errors="replace").strip()
    except OSError:
        named = "unreadable"
    hint = f"; branches with commits: {', '.join(branches[:5])}" if branches else ""
    reason = "needed a commit at HEAD" if branches or _holds(git_dir, named) else "no commits yet"
    raise InputError(f"{path}: {reason}, found {named!r}, which names none{hint}")


def _holds(git_dir: Path, named: str) -> bool:
    """Return whether there is a file for the branch that HEAD names, or HEAD names no branch."""
    return not named.startswith("ref: ") or (git_dir / named.removeprefix("ref: ")).exists()


def _is_named(path: Path, git_dir: Path) -> bool:
    """Return whether a path is a repository, rather than a folder somewhere inside of one."""
    place = Path(os.path.realpath(path))
    return place == Path(os.path.realpath(git_dir)) or os.path.lexists(
        (place.parent if place.is_file() else place) / ".git"
    )


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def _closed(named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing of the user's changes an answer."""
    return {**_kept(), **OURS, **(named or {})}


def _lines(file: Path) -> list[bytes]:
    """Return the lines of a file that are no comments; none if it cannot be read."""
    try:
        if not file.is_file():
            return []  # a pipe or a device need never end
        with file.open("rb") as held:
            lines = held.read(LARGEST).split(b"\n")
    except OSError:
        return []
    return [line for line in lines if line.strip() and not line.startswith(b"#")]


def _path(answer: bytes, folder: Path) -> str:
    """Return a path that git printed from a folder, absolute. It may hold line breaks."""
    return os.path.join(os.path.abspath(folder), os.fsdecode(answer.removesuffix(b"\n")))


def _answer(
    path: Path, command: list[str], environment: Mapping[str, str], folder: Path,
    asked: bytes = b"", seconds: int = PATIENCE,
) -> bytes:  # fmt: skip
    try:
        result = subprocess.run(
            command, input=asked, capture_output=True, env=environment, cwd=folder,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: git gave no answer within {seconds} s") from None
    except OSError as error:
        raise InputError(f"{path}: git could not be run: {error.strerror or error}") from None
    if result.returncode:
        raise InputError(f"{path}: {reason_of(result.stderr)}")
    return result.stdout


def reason_of(printed: bytes) -> str:
    """Return the reason that git printed for a failure, in one line.

    >>> reason_of(b"warning: x\\nfatal: unknown repository extension found:\\n\\tfoo\\n")
    'git: unknown repository extension found: foo'
    """
    lines = printed.decode(errors="backslashreplace").split("\n")
    fatal = [number for number, line in enumerate(lines) if line.startswith("fatal: ")]
    words = " ".join(lines[fatal[-1] :] if fatal else lines).removeprefix("fatal: ").split()
    text = " ".join(words)
    text = text.replace(" To add an exception for this directory, call: git", "; to trust it: git")
    return f"git: {text[:400]}" if text else "git failed without a reason"
