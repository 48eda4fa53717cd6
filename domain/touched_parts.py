"""Which parts of an output does a request touch? Those that name one of its paths or symbols.

A part is a test that failed, what a linter found, a commit, or a paragraph; a trace that was raised
from another one is in the part of that. Where no part that fails is touched, all are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set

from backcast.domain.compression_settings import LineKind
from backcast.domain.output_lines import LONG
from backcast.domain.text_records import TextRecord
from backcast.domain.text_request import TextRequest

WORD = re.compile(r"[A-Za-z_]\w+")
VITAL = ("error", "frame", "cause")
"Kinds of lines that must stay where they are touched."
_OUTER = ("failure", "finding", "commit")
_CHAINED = re.compile(r"^\s*(?:During handling of the above|The above exception was|Caused by:)")
_TEST = re.compile(r"::(\w+)|^(?:ERROR|FAIL): (\w+) \(")
_IMPORTED = re.compile(r"(?:^|[:\s])(?:from\s+([\w.]+)\s+import\s+\(?([\w, ]+)|import\s+([\w.]+))")
_LOCATION = re.compile(r"^(?:\./)?(\S+?):\d+[:-]")
_TOTAL = re.compile(r"\b\d+ (?:failed|passed|errors?)\b|^Ran \d+ tests")


def parts_of(lines: Sequence[str], records: Sequence[TextRecord]) -> list[int]:
    """Return the number of each line's part; records have those from 0, paragraphs below 0."""
    parts, number, chains = [0] * len(lines), -1, False
    for place, line in enumerate(lines):
        if not line.strip():
            number -= not chains
        elif _CHAINED.match(line):
            number, chains = (parts[place - 2] if place > 1 else number), True
        else:
            chains = False
        parts[place] = number
    for index, record in enumerate(records):
        if record.kind in _OUTER:
            parts[record.start : record.stop] = [index] * (record.stop - record.start)
    return parts


def touched_lines(
    lines: Sequence[str], kinds: Sequence[LineKind], paths: Mapping[int, Sequence[str]],
    request: TextRequest, records: Sequence[TextRecord], parts: Sequence[int],
) -> Set[int] | None:  # fmt: skip
    """Return the lines of all parts that fail and that a request touches; None where it touches
    none. What counts all that failed is among them."""
    if not (request.paths or request.symbols):
        return None
    failing = {parts[place] for place, kind in enumerate(kinds) if kind in VITAL}
    touched = {
        parts[place] for place in range(len(lines))
        if parts[place] in failing and _names(place, lines, paths, request)
    }  # fmt: skip
    tests = {record.name.partition("[")[0].rpartition(".")[2] for index, record in
             enumerate(records) if record.kind == "failure" and index in touched}  # fmt: skip
    found = {place for place, part in enumerate(parts) if part in touched}
    single = set[int]()
    for place, kind in enumerate(kinds):
        if kind != "error" or parts[place] >= 0:
            continue
        test = _TEST.search(lines[place][:LONG])
        if test:  # a summary is a list: each line by itself
            found.discard(place)
            if (test[1] or test[2]) in tests or _names(place, lines, paths, request):
                single.add(place)
        elif _TOTAL.search(lines[place][:LONG]):
            found.discard(place)
            single.add(place)
    if any(kinds[place] in VITAL for place in found) or tests:
        return found | single
    if of_tests := tests_of(request.paths) - request.paths:
        asked = request._replace(paths=frozenset(of_tests), symbols=frozenset())
        if any(_names(place, lines, paths, asked) for place in range(len(lines))):
            return touched_lines(lines, kinds, paths, asked, records, parts)
    findings = {index for index, record in enumerate(records) if record.kind == "finding"}
    if not (findings and request.paths):
        return None
    # A linter that found nothing in what is asked about: its findings elsewhere are only counted.
    return {place for place, part in enumerate(parts) if part not in findings}


def tests_of(paths: Set[str]) -> frozenset[str]:
    """Return how the files are named in which tests of some files stand.

    >>> sorted(tests_of({"shop/till.py", "README"}))
    ['test_till.py', 'till_test.py']
    """
    names = (path.rpartition("/")[2].rpartition(".") for path in paths)
    return frozenset(
        test
        for stem, dot, ending in names
        if stem and not stem.startswith("test_") and not stem.endswith("_test")
        for test in (f"test_{stem}.{ending}", f"{stem}_test.{ending}")
    )


def touches(path: str, wanted: frozenset[str]) -> bool:
    """Return whether a path is one that is wanted, or ends with one."""
    if path in wanted:
        return True
    names = path.strip("./").split("/")
    return any("/".join(names[start:]) in wanted for start in range(len(names)))


def _names(
    place: int, lines: Sequence[str], paths: Mapping[int, Sequence[str]], request: TextRequest
) -> bool:
    line = lines[place][:LONG]
    if place in paths:
        named = any(touches(path, request.paths) for path in paths[place])
    else:
        named = any(path in line for path in request.paths)
    return named or not request.symbols.isdisjoint(WORD.findall(line))


def imports_of_asked(
    lines: Sequence[str], paths: Mapping[int, Sequence[str]], request: TextRequest
) -> Iterator[int]:
    """Yield the first line of each file in a search that imports a module of the request."""
    asked = {path.rpartition("/")[2].rpartition(".")[0]: path for path in sorted(request.paths)
             if path.endswith(".py")}  # fmt: skip
    seen = set[tuple[str, str]]()
    for place in paths if asked else ():
        line = lines[place][:LONG]
        match = _IMPORTED.search(line) if "import" in line else None
        own = _LOCATION.match(line) if match else None
        if not match or not own:
            continue
        for path in _modules(match, asked):
            if not touches(own[1], frozenset((path,))) and (own[1], path) not in seen:
                seen.add((own[1], path))
                yield place


def _modules(match: re.Match[str], asked: Mapping[str, str]) -> Iterator[str]:
    module = (match[1] or match[3]).strip(".")
    dotted = [module] if module else []
    dotted += [f"{module}.{name}".strip(".") for name in re.findall(r"\w+", match[2] or "")]
    for name in dotted:
        last = name.rpartition(".")[2]
        path = asked.get(last, "")
        full = "." + path.removesuffix(".py").replace("/", ".")
        if path and full.endswith(f".{name}"):
            yield path
            return


def own_import(line: str, wanted: frozenset[str]) -> bool:
    """Return whether a line of a search is an import that a wanted file itself makes."""
    own = _LOCATION.match(line[:LONG]) if "import" in line else None
    return bool(own and _IMPORTED.search(line[:LONG]) and touches(own[1], wanted))
