"""Lines of a file that form a tree: read again by their ids, and told of."""

from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

from backcast.engine.log.importers import Report
from backcast.engine.log.importers.content import id_of
from backcast.engine.log.importers.context_tree import ContextTree
from backcast.engine.log.importers.lines import Test, read_objects


def read_again(
    path: Path, is_entry: Test, name: Callable[[dict[str, Any], int], str], ids: Set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the first entry of each of some ids."""
    wanted = set(ids)
    for number, _, entry in read_objects(path, Report(), is_entry):
        if (id := name(entry, number)) in wanted:
            wanted.remove(id)
            yield id, entry
        if not wanted:
            return


def known_parent(tree: ContextTree, parent: object, number: int, report: Report) -> str | None:
    """Return the id of the entry that the one on a line says it follows; None for none.

    A parent that the file does not hold before it is noted: the entry before stands in for it.
    """
    known = None if parent is None else id_of(parent, "")
    if known is None or known in tree:
        return known
    report.notes.append(
        f"line {number}: it follows {str(parent)[:48]!r}, which the file does not hold before it:"
        " it is taken to follow the line before"
    )
    return tree.last


def tell_branches(tree: ContextTree, report: Report) -> None:
    """Note that a log has several branches."""
    if tree.branches:
        count, shown = len(tree.branches), ", ".join(tree.branches[:3])
        report.notes.append(
            f"{count + 1} branches: {shown}{' and others' if count > 3 else ''} begin"
            f"{'s' if count == 1 else ''} anew at an earlier entry; all stand in the task, and the"
            " context of a call follows its own branch"
        )
