"""Which code is at work here? Equal digests promise equal results from equal inputs."""

import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_ELSEWHERE = ("engine", "api")
"The folder of a checkout whose files an installation holds under the package's own name."


@cache
def code_digest() -> str:
    """Return a digest over the sources of the package, the same in a checkout and installed."""
    found = {file.name: file for file in _PACKAGE.glob("*.py")}
    for room in ("domain", "projections", "engine"):
        folder = (_PACKAGE / room).resolve()  # a link in a checkout, which a search does not follow
        for file in folder.rglob("*.py"):
            place = (room, *file.relative_to(folder).parts)
            if place[:2] != _ELSEWHERE:
                found["/".join(place)] = file
    digest = sha256()
    for name, file in sorted(found.items()):
        body = file.read_bytes()
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()


def python_version() -> str:
    """Return the version of Python, whose parser decides what code is."""
    return "{}.{}".format(*sys.version_info[:2])


def different_code(needed: str, found: str) -> str:
    """Return the line about a worker with other code.

    >>> different_code("3f2a" * 16, "9be1" * 16)
    'needed backcast with the code 3f2a3f2a3f2a, found 9be19be19be1; install the same there'
    """
    digits = 12 if len(found) == 64 else None
    return (
        f"needed backcast with the code {needed[:12]}, found {found[:digits]};"
        " install the same there"
    )
