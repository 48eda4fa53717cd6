"""Which module of the task does an import name? Looked for where Python would look."""

from collections.abc import Iterator
from posixpath import dirname, join

from backcast.domain.outline import EXISTS, LINK
from backcast.domain.paths import is_aside, is_test
from backcast.domain.reader import Reader
from backcast.domain.tree import FOLDER, KINDS, MODULE, PACKAGE, SOURCES, Root

MAX_LINKS = 8
"The most symbolic links followed for one module."
UNSHADOWED = frozenset(
    (
        *("abc", "atexit", "builtins", "codecs", "errno", "faulthandler", "gc", "genericpath"),
        *("importlib", "io", "itertools", "marshal", "ntpath", "os", "posix", "posixpath", "pwd"),
        *("site", "stat", "sys", "time"),
    )
)
"Modules of the language that Python holds in itself, and finds before any file."


def module_path(reader: Reader, importer: str, written: str) -> str | None:
    """Return the path of the task's own module that an import names; None for none.

    `written` is as in the source: `pkg.mod`, `.mod`, `..`. Absolute names are looked for beside the
    importer's outermost package, in the folders above it and their folders of sources, at the tops
    of other projects of the repository, and at last wherever there is one package of that name. A
    name of the language's own library is the task's own only where a program stands beside it.
    """
    key = importer, written
    if key not in reader.paths:
        reader.paths[key] = _module_path(reader, importer, written)
    return reader.paths[key]


def _module_path(reader: Reader, importer: str, written: str) -> str | None:
    name = written.lstrip(".")
    level = len(written) - len(name)
    parts = [part for part in name.split(".") if part]
    if level:
        folder = dirname(importer)
        for _ in range(level - 1):
            if not folder:
                return None
            folder = dirname(folder)
        return module_at(reader, folder, parts)
    for folder, kind in _places(reader, importer, parts[0]) if parts else ():
        if len(parts) > 1 and kind == MODULE:
            continue  # nothing is inside a module
        if found := module_at(reader, folder, parts, is_module=kind == MODULE):
            return found
    return None


def _places(reader: Reader, importer: str, top: str) -> Iterator[tuple[str, str]]:
    """Yield the folders in which Python would find a name, with what stands there, in order.

    Packages and modules go before folders that are no packages, as they do in Python.
    """
    if top in UNSHADOWED or not (roots := reader.roots(top)):
        return
    home = _home(reader, importer)
    beside = [(one.folder, one.kind) for one in reversed(roots) if one.kind != FOLDER]
    yield from (place for place in beside if place[0] == home)
    # A name of the language's own library is another one only beside a program.
    if reader.facet(importer, f"standard:{top}"):
        yield from (place for place in beside if place[0] == "" != home)
    else:
        yield from _all_places(top, roots, home)


def _all_places(top: str, roots: tuple[Root, ...], home: str) -> list[tuple[str, str]]:
    above: dict[str, int] = {}
    for folder in _upwards(home):
        for place in (folder, *(join(folder, name) for name in SOURCES)):
            above.setdefault(place, len(above))
    ranked = []
    for root in roots:
        kind, folder = KINDS.index(root.kind), root.folder
        is_folder = root.kind == FOLDER
        if folder in above:
            ranked.append((is_folder, 0, above[folder], folder, kind))
        elif _is_elsewhere(root, top, roots):
            far = -len(_common(folder, home))
            ranked.append((is_folder, 2 - root.declared, far, folder, kind))
    return [(folder, KINDS[kind]) for *_, folder, kind in sorted(ranked)]


def _home(reader: Reader, importer: str) -> str:
    """Return the folder of the importer's outermost package, or of the importer itself."""
    folder = dirname(importer)
    while folder and reader.exists(join(folder, "__init__.py")):
        folder = dirname(folder)
    return folder


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = dirname(folder)
    yield ""


def _is_elsewhere(root: Root, top: str, roots: tuple[Root, ...]) -> bool:
    """Return whether a root that is not above an importer may be on its path all the same."""
    if is_test(f"{top}/x.py") or is_test(f"{top}.py") or is_aside(f"{top}/"):
        return False
    if root.declared:
        return True
    if root.kind != PACKAGE or is_aside(f"{root.folder}/x") or is_test(f"{root.folder}/x.py"):
        return False
    return sum(one.kind == PACKAGE for one in roots) == 1


def _common(folder: str, other: str) -> list[str]:
    """Return the parts that two folders have in common at their beginning."""
    found: list[str] = []
    for part, own in zip(folder.split("/"), other.split("/"), strict=False):
        if part != own:
            break
        found.append(part)
    return found


def module_at(
    reader: Reader, folder: str, parts: list[str], *, is_module: bool = False
) -> str | None:
    """Return the module of a dotted name below a folder: a package goes before a module."""
    for _ in range(MAX_LINKS):
        place = "/".join([folder, *parts] if folder else parts)
        package = f"{place}/__init__.py" if place else "__init__.py"
        files = (package, f"{place}.py", f"{place}.pyi") if parts else (package,)
        for path in files[is_module:]:
            if found := _linked(reader, path):
                return found
        if is_module or not (within := _linked_folder(reader, folder, parts)):
            return None
        folder, parts = within
    return None


def _linked_folder(reader: Reader, folder: str, parts: list[str]) -> tuple[str, list[str]] | None:
    """Return where a dotted name goes on if one of its folders is a symbolic link."""
    for end in range(1, len(parts) + 1):
        found = reader.facet("/".join([folder, *parts[:end]] if folder else parts[:end]), EXISTS)
        if found and found[0] == LINK:
            return found[1], parts[end:]
    return None


def _linked(reader: Reader, path: str) -> str | None:
    """Return an existing module, or the one that it is a symbolic link to."""
    for _ in range(MAX_LINKS):
        if not reader.exists(path):
            return None
        found = reader.facet(path, EXISTS) or ()
        if found[:1] != (LINK,) or not reader.exists(found[1]):
            break
        path = found[1]
    return path
