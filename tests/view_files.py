"""What stands packed in a file of `backcast view`, as its script puts it together."""

import base64
import json
import zlib
from typing import Any


def parts_of(page: str) -> Any:
    """Return the parts of a file, with its texts whole."""
    packed = page.partition('id="parts">')[2].partition("<")[0]
    data = json.loads(zlib.decompress(base64.b64decode(packed)))
    data["texts"] = list(texts_of(data.pop("lines"), data.pop("runs")))
    return data


def texts_of(lines: list[str], runs: list[list[int]]) -> list[str]:
    """Return texts of their runs: new lines, in turn with lines that stood before."""
    texts, fresh = list[str](), 0
    for own, *rest in runs:
        found, end = lines[fresh : fresh + own], 0
        fresh += own
        for begin, count, new in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            end += begin + count
            found += [*lines[end - count : end], *lines[fresh : fresh + new]]
            fresh += new
        texts.append("".join(found))
    assert fresh == len(lines)
    return texts
