"""What a context is requested for: a target, a task in words, and what must be shown."""

from typing import NamedTuple


class Request(NamedTuple):
    """What a context is asked for."""

    target: str = ""
    "`module:PATH` or `function:PATH::NAME`, which need not exist yet; empty where only a query is."
    query: str = ""
    "What is to be done, in words: a commit message, a signature, a docstring."
    wanted: tuple[str, ...] = ()
    "Nodes that are shown in full if any room is left for it: modules, functions, classes, tests. \
Where not all fit, the last ones are lowered first."
    needs: tuple[str, ...] = ()
    "Paths of modules that it needs, whether its text says so yet or not."
    behind: str = ""
    "The function or class of its module behind which a new target will stand; `.` for the head of \
the module, empty where unknown."
