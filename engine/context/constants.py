"""The constants of a module, its own and those that it imports by name."""

from backcast.domain.names import resolve
from backcast.domain.node import node_id
from backcast.engine.context.symbols import Symbols


def constants(symbols: Symbols, path: str) -> list[str]:
    """Their nodes, sorted: what a name of the module's namespace is bound to that is a value.

    Names with two underscores in front are the language's own matter.
    """
    found = symbols.constants.get(path)
    if found is None:
        found = symbols.constants[path] = _found(symbols, path)
    return found


def _found(symbols: Symbols, path: str) -> list[str]:
    part, reader = symbols.parts.get(path), symbols.reader
    if part is None:
        return []
    found: dict[str, None] = {}
    for key in sorted(part.facets):
        if key.startswith("name:") and not key.startswith("name:__"):
            target = resolve(reader, path, key.removeprefix("name:"))
            if target and target.kind == "attribute" and "." not in target.name:
                found[node_id("attribute", target.path, target.name)] = None
    for nodes in part.reads.values():
        found |= dict.fromkeys(nodes)
    return sorted(found)
