"""What does a project say of itself, and of the libraries that it requires?

It is read from `pyproject.toml`, and from files of requirements beside it.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from posixpath import basename
from types import MappingProxyType
from typing import Any, NamedTuple

NAME = "pyproject.toml"
LONGEST = 80
"Characters of a version that are told."
_REQUIRED = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;#@)]*)")
_FILES = re.compile(r"requirements[\w.-]*\.txt$|requirements/[\w.-]+\.txt$")
KNOWN_AS: Mapping[str, str] = {
    "pil": "pillow", "yaml": "pyyaml", "attr": "attrs", "bs4": "beautifulsoup4",
    "sklearn": "scikit-learn", "cv2": "opencv-python", "dateutil": "python-dateutil",
    "dotenv": "python-dotenv", "jwt": "pyjwt", "openssl": "pyopenssl", "git": "gitpython",
    "serial": "pyserial", "zmq": "pyzmq", "google": "google-api-core", "socks": "pysocks",
}  # fmt: skip
"Under which name a library is required that is imported under another."

Text = Callable[[str], str | None]
"Gives the text of a file of the repository as of a moment; None where there is none."


class ProjectFile(NamedTuple):
    """What a project says of itself."""

    name: str = ""
    version: str = ""
    python: str = ""
    "The versions of Python that it requires."
    description: str = ""
    scripts: tuple[tuple[str, str], ...] = ()
    "Commands that it installs, and what each calls."
    requires: Mapping[str, str] = MappingProxyType({})
    "Versions by library, as it requires them; empty for any. Names in normal form."
    fault: str = ""
    "Why pyproject.toml cannot be read."

    def version_of(self, imported: str) -> str | None:
        """Return the required versions of a library that is imported by a name; None where the
        project requires no such library."""
        name = normal(imported)
        return self.requires.get(name, self.requires.get(KNOWN_AS.get(name, "")))


def project_file(paths: Iterable[str], text: Text) -> ProjectFile:
    """Return what the files of a project say; the first that names a library with a version wins.

    Files in folders at the top count for what they require, as in a repository of many packages.
    """
    paths = sorted(path for path in paths if is_requirements(path))
    found, faults = dict[str, dict[str, Any]](), list[str]()
    projects = sorted((path for path in paths if basename(path) == NAME), key=NAME.__ne__)
    for path in projects:
        try:
            found[path] = tomllib.loads(text(path) or "")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            faults.append(f"{path} does not parse: {str(error)[:LONGEST]}")
    requires = dict[str, str]()
    for project in found.values():
        _required(requires, project)
    for path in paths:
        if basename(path) != NAME:
            _note_lines(requires, (text(path) or "").splitlines())
    top = found.get(NAME, {})
    project, poetry = _table(top, "project"), _table(top, "tool", "poetry")
    scripts = _table(project, "scripts") or _table(poetry, "scripts")
    return ProjectFile(
        name=_said(project.get("name", poetry.get("name"))),
        version=_said(project.get("version", poetry.get("version"))),
        python=_said(project.get("requires-python")) or requires.pop("python", ""),
        description=_said(project.get("description", poetry.get("description")), 500),
        scripts=tuple((name, _said(scripts[name])) for name in sorted(scripts)),
        requires=dict(sorted(requires.items())),
        fault="; ".join(faults),
    )


def _required(requires: dict[str, str], found: dict[str, Any]) -> None:
    """Note what one pyproject.toml requires."""
    poetry, hooks = (
        _table(found, "tool", "poetry"),
        _table(found, "tool", "hatch", "metadata", "hooks"),
    )
    for project in (_table(found, "project"), *(_table(hook) for hook in hooks.values())):
        _note_lines(requires, _lines(project.get("dependencies")))
        _note_groups(requires, _table(project, "optional-dependencies"))
    _note_groups(requires, _table(found, "dependency-groups"))
    for table in (poetry, *(_table(group) for group in _table(poetry, "group").values())):
        for name, version in _table(table, "dependencies").items():
            said = version.get("version", "") if isinstance(version, dict) else version
            _note(requires, name, said if isinstance(said, str) else "")


def _note_groups(requires: dict[str, str], groups: dict[str, Any]) -> None:
    for group in groups.values():
        _note_lines(requires, _lines(group))


def _note_lines(requires: dict[str, str], lines: Iterable[str]) -> None:
    for line in lines:
        if match := _REQUIRED.match(line):
            _note(requires, match[1], match[2])


def normal(name: str) -> str:
    """Return a library's name in normal form.

    >>> normal("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _note(requires: dict[str, str], name: str, version: str) -> None:
    name, version = normal(name), " ".join(version.split())[:LONGEST]
    if not requires.get(name):
        requires[name] = "" if version == "*" else version


def _table(found: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _lines(found: Any) -> list[str]:
    return [line for line in found if isinstance(line, str)] if isinstance(found, list) else []


def _said(found: Any, most: int = LONGEST) -> str:
    return " ".join(found.split())[:most] if isinstance(found, str) else ""


@lru_cache(maxsize=50_000)
def is_requirements(path: str) -> bool:
    """Return whether a file tells what a project requires."""
    return path.count("/") <= 1 and (basename(path) == NAME or bool(_FILES.search(path)))
