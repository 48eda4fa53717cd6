"""What of an output is left out that something failed in, or that a linter found? Its counts.

By file, and by rule, the most frequent first; so a reader knows what else to ask for.
"""

import re
from collections import Counter
from collections.abc import Sequence, Set

from backcast.domain.line_worth import LineWorth

NAMED = 8
"Files and rules at most that are named."
_FILE = re.compile(r"(?:^|[\s(\"'])([\w./-]+\.\w{1,4})(?:::|:\d+|\", line \d+)")


def counts_left_out(known: LineWorth, lines: Sequence[str], shown: Set[int]) -> str:
    """Return a line that counts findings and failures of which nothing is shown; empty for none."""
    files, rules, found = Counter[str](), Counter[str](), Counter[str]()
    for record in known.records:
        if record.kind not in ("finding", "failure", "commit"):
            continue
        if shown.isdisjoint(range(record.start, record.stop)):
            found[record.kind] += 1
            if record.kind == "commit":
                continue
            file = record.path or _file(lines[record.start : record.stop])
            if file:
                files[file] += 1
            if record.rule:
                rules[record.rule] += 1
    if not found:
        return ""
    words = " and ".join(
        f"{number:,} {kind}{'s' if number > 1 else ''}" for kind, number in sorted(found.items())
    )
    by_file = f"; by file: {_listed(files)}" if files else ""
    by_rule = f"; by rule: {_listed(rules)}" if rules else ""
    return f"[left out: {words}{by_file}{by_rule}]"


def _file(lines: Sequence[str]) -> str:
    return next((match[1] for line in lines if (match := _FILE.search(line))), "")


def _listed(counts: Counter[str]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {number:,}" for name, number in ranked[:NAMED])
    rest = ranked[NAMED:]
    return f"{shown}, {sum(n for _, n in rest):,} in {len(rest):,} more" if rest else shown
