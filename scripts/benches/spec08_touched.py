"""What of an output does a request touch, and which modules lie near it? By the output itself."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from backcast.domain.error_lines import numbered_errors
from backcast.domain.text_records import records_of
from backcast.domain.text_request import HOPS, TextRequest, request_of
from scripts.benches.spec08_outputs import ToolOutput

FRAME = re.compile(
    r'^\s*File "[^"]+", line \d+|^[\w./-]+\.py:\d+: (?:in \S+|$|\w*(?:Error|Exception|Exit)\b)'
)
_IMPORT = re.compile(
    r"^\./(\S+\.py):\d+:\s*(?:from\s+([\w.]+)\s+import\s+([\w, ]+)|import\s+([\w.]+))"
)


def touched(lines: Sequence[str], request: TextRequest) -> set[str]:
    """Return the lines of failures and findings that name a path or symbol of a request, and other
    lines that do. Where none of them fails nothing that fails is asked for: then all lines, or all
    but findings where the request names a path."""
    wanted, found, inside = request.paths | request.symbols, set[str](), set[int]()
    records = records_of(lines)
    findings = {place for record in records if record.kind == "finding"
                for place in range(record.start, record.stop)}  # fmt: skip
    for record in records:
        if record.kind in ("failure", "finding"):
            own = lines[record.start : record.stop]
            inside.update(range(record.start, record.stop))
            if any(_is_named(line, wanted) for line in own):
                found.update(line.strip() for line in own)
    found |= {line.strip() for place, line in enumerate(lines)
              if place not in inside and _is_named(line, wanted)}  # fmt: skip
    fails = {lines[place].strip() for place, _ in numbered_errors(list(lines))}
    fails |= {line.strip() for line in lines if FRAME.search(line) or " --> " in line}
    if found & fails:
        return found
    elsewhere = findings if request.paths else ()
    return {line.strip() for place, line in enumerate(lines) if place not in elsewhere}


def _is_named(line: str, wanted: Iterable[str]) -> bool:
    return any(re.search(rf"(?<![\w]){re.escape(name)}(?!\w)", line) for name in wanted)


def distances_in(output: ToolOutput) -> dict[str, int]:
    """Return the modules that lie 1 to 4 imports from what is asked about, by the output itself."""
    users = defaultdict[str, set[str]](set)
    files = set[str]()
    for line in output.text.split("\n"):
        if match := _IMPORT.search(line):
            files.add(match[1])
    for line in output.text.split("\n"):
        if match := _IMPORT.search(line):
            for other in _imported(match):
                for file in files:
                    if file == other or file.endswith(f"/{other}"):
                        users[file].add(match[1])
                        users[match[1]].add(file)
    begin = [path for path in request_of(output.request).paths if path in files]
    found, border = dict.fromkeys(begin, 0), begin
    for hops in range(1, HOPS + 1):
        further = sorted({other for path in border for other in users[path]} - set(found))
        found |= dict.fromkeys(further, hops)
        border = further
    return {path: hops for path, hops in found.items() if hops}


def _imported(match: re.Match[str]) -> list[str]:
    """Return the files that an import may name, without the folder of the package."""
    module = (match[2] or match[4] or "").lstrip(".").replace(".", "/")
    names = [name.strip() for name in (match[3] or "").split(",")]
    folder = match[1].rpartition("/")[0]
    near = [f"{folder}/{module}.py"] if module and (match[2] or "").startswith(".") else []
    inside = [f"{folder}/{name}.py" for name in names if name and (match[2] or "") == "."]
    return [*near, *inside, *([f"{module}.py"] if module and not near else [])]
