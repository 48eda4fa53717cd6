"""Which lines of a list of tasks look as if they were meant for one, and are none?

>>> for line in doubtful_lines("- [x 1.2 A box\\n- [ ] 1.3 B\\n  - _Depend: 1.2_\\n"):
...     print(line)
line 1: '- [x 1.2 A box' is no task: needed '- [ ] 1.2 ...'
line 3: _Depend: is not read: did you mean _Depends:
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches

_BOX = re.compile(r"[ \t]*[-*+][ \t]*\[[ xXoO*~/-]?(?:[ \t\]]|$)")
_WHOLE = re.compile(r"\ufeff?[ \t]*[-*+][ \t]+\[[ xX-]\][ \t]+\S")
_KEY = re.compile(r"[ \t]*[-*+]?[ \t]*_(?P<key>\w+?)(?: on)?:")
_FENCE = re.compile(r"[ \t]*(```|~~~)")
KEYS = ("Requirements", "Requirement", "Depends")
LIKE = 0.8
"How alike a key must be to one that is read, to be taken for it."
WIDTH = 40
"Characters of a line that are told."


def doubtful_lines(text: str) -> Iterator[str]:
    """Yield a sentence about each such line; what stands in fenced code is passed over."""
    fenced = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence := _FENCE.match(line):
            fenced = "" if fenced == fence[1] else fenced or fence[1]
        elif fenced:
            continue
        elif _BOX.match(line) and not _WHOLE.match(line):
            said = line.strip()[:WIDTH]
            yield f"line {number}: {said!r} is no task: needed '- [ ] 1.2 ...'"
        elif (key := _KEY.match(line)) and (near := _meant(key["key"])):
            yield f"line {number}: _{key['key']}: is not read: did you mean _{near}:"


def _meant(key: str) -> str:
    """Return the key that is read and that another one is like; empty for none."""
    near = get_close_matches(key.capitalize(), KEYS, 1, LIKE)
    return near[0] if near and key not in KEYS else ""
