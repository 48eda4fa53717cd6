"""An address names a task, or a whole log, and where in it one stands: `TASK[@WHEN]`.

>>> parse("till@79")
Address(log='', task='till', when='79')
>>> parse("runs/till.jsonl#till@commit:3f2a5c1,recorded:2026-03-05")
Address(log='runs/till.jsonl', task='till', when='commit:3f2a5c1,recorded:2026-03-05')
>>> parse("@2026-11-20"), parse("ann@example.org")
(Address(log='', task=None, when='2026-11-20'), Address(log='', task='ann@example.org', when=''))
"""

import re
from typing import NamedTuple

from backcast.domain.errors import InputError

FORMS = "an event number, first, last, a time such as 2026-11-20T10:31, commit:SHA or recorded:TIME"
_PART = re.compile(r"\d+|first|last|\d{4}-\d.*|commit:.*|before:.*|recorded:.*", re.DOTALL)
"What can only be meant as a moment, be it a good one or not."
_FILE = re.compile(r".+\.jsonl(\.zst|\.gz)?", re.DOTALL)


class Address(NamedTuple):
    """A task or a log, and a moment of it."""

    log: str = ""
    "The file or the URL of a log; empty for the store that a command opens."
    task: str | None = None
    "None for all tasks of the log."
    when: str = ""
    "The moment as it was typed; empty for now."

    def __str__(self) -> str:
        name = self.task or ""
        at = f"@{self.when}" if self.when else "@" if looks_dated(name) else ""
        return f"{self.log}{'#' if self.log and name else ''}{name}{at}"


def parse(text: str) -> Address:
    """Return the address that a text stands for.

    The last `@` with a moment on its right divides; a task whose own name would be divided so ends
    in a bare `@`. `InputError` where nothing stands behind the only `@`, or before `#`.
    """
    place, when = _divided(text)
    head, mark, task = place.partition("#")
    if "://" in head or _FILE.fullmatch(head):
        if mark and not task:
            raise InputError(f"{text!r}: needed the name of a task behind #, found nothing")
        return Address(head, task or None, when)
    return Address("", place or None, when)


def looks_dated(name: str) -> bool:
    """Return whether a task's name would be taken for a task and a moment."""
    return name.endswith("@") or bool(_divided(name)[1])


def _divided(text: str) -> tuple[str, str]:
    """The place and the moment of an address."""
    if text.endswith("@"):
        if "@" not in text[:-1]:
            raise InputError(
                f"{text!r}: needed a moment behind @, such as an event number, first, last, a time"
                " or commit:SHA, found nothing"
            )
        return text[:-1], ""
    ends = [mark.start() for mark in re.finditer("@", text)]
    for end in reversed(ends):
        if all(_PART.fullmatch(part) for part in text[end + 1 :].split(",")):
            return text[:end], text[end + 1 :]
    return text, ""
