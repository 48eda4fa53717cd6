"""What is in a module? Its outline consists of facets, small named pieces that change separately.

A facet is a tuple of texts under a key. Anything made of a module is out of date only when one of
the facets that it read has changed. In the keys `Q` is a qualified name within the module
(`Cart.total`; `area#2` for a second live definition) and `N` a name in its namespace:

| key | texts |
|---|---|
| `doc` | the first paragraph of the module's docstring |
| `error` | the line and message of what does not parse; all else is then of the last good version |
| `newer` | of a module for a newer Python than the outliner's: its version, and the constructs |
| `link` | of a symbolic link in place of a module: the path that it leads to |
| `imports` | every module imported anywhere in it, as written: `os.path`, `.models`, `..` |
| `standard` | those of the imported top-level names that belong to the language's own library |
| `stars` | the modules that all names are imported from, as written, in order |
| `name:N` | what a name of the namespace is bound to, see below |
| `other:N` | what else it may be bound to: `from .x y`, `def`; the likeliest first |
| `type:N` | the type of a name bound to a value, where one can be read off: `config.Settings` |
| `heading` | the headings of a document, in order |
| `sig:Q` | kind (function, method, class or test), then the signature as written |
| `overloads:Q` | the signatures of an overloaded function's variants |
| `doc:Q` | the first paragraph of the docstring |
| `decorators:Q`, `bases:Q` | expressions as written |
| `attributes:Q` | of a class: `name=dotted.type` where a type can be read off, else `name` |
| `calls:Q` | what is called, as dotted names: `self.total`, `utils.clean`; sorted, once each |
| `locals:Q` | names bound by imports inside a function: `name=import a.b`, `name=from .x y` |
| `raises:Q`, `effects:Q` | exceptions; kinds of side effect: files, globals, network, subprocess |
| `uses:Q` | dotted names that are read and not called: `self.items`, `LIMIT`, `utils.LIMIT` |
| `config:Q` | names of settings that are read from the environment |
| `body:Q` | a digest of the source text; how many versions of the module have changed it so far |

A name is bound to `("def",)`, defined here; `("import", "pkg.mod")`, a module; `("from",
"..pkg.mod", "thing")`, a name of another module, as written; `("alias", "dotted.name")`, an
assignment of another name; or `("value", text)`, any other value, with its text if it is a literal
of at most 80 characters. Empty facets are left out. Pure: nothing here parses anything.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from immutables import Map

from backcast.domain.events import ModuleOutlined

Facet = tuple[str, ...]
Facets = Map[str, Facet]
Lines = Mapping[str, tuple[int, int]]
"First and last line of each qualified name, counted from 1."

ABSENT = ""
"The digest of a missing facet."
EXISTS = ""
"The key by which a reader asks whether a module exists at all."
PRESENT: Facet = ("present",)
LINK = "link"
"The key of the file that a symbolic link in place of a module leads to."
NEWER = "newer"
"The key of what in a module is newer than the Python that outlined it."
SOURCE = "source"
"The key of the outlined text's blob; projections add it, not outliners."
ITERATION = "iteration"
"The key of the module's iteration, in digits; projections add it, not outliners."


class Outline(NamedTuple):
    """The facets and lines of one version of a module."""

    facets: Mapping[str, Facet]
    lines: Lines


def part_of(facets: Mapping[str, Facet], key: str) -> Facet | None:
    """Return a facet of an existing module, or a part of one; None for none.

    Parts let a reader depend on less than a whole facet: `kind:Q` on the first text of `sig:Q`,
    `attribute:C.x` on what the class C says of x, `follows:Q` on the calls that may be followed,
    `import:M`, `standard:M` and `heading:H` on the presence of one, `names` on the set of functions
    and classes, `EXISTS` on the existence of the module, and on where it leads if it is a link.
    """
    found = facets.get(key)
    if found is not None:
        return found
    head, _, name = key.partition(":")
    if head not in _PARTS:
        return None
    match head:
        case "kind":
            sig = facets.get(f"sig:{name}")
            return None if sig is None else sig[:1]
        case "attribute":
            owner, _, attribute = name.rpartition(".")
            attributes = (one.partition("=") for one in facets.get(f"attributes:{owner}", ()))
            return next(((of,) for plain, _, of in attributes if plain == attribute), None)
        case "follows":
            return tuple(one for one in facets.get(f"calls:{name}", ()) if one[:1] != "?")
        case "import" | "heading" | "standard":
            names = facets.get("imports" if head == "import" else head, ())
            return PRESENT if name in names else None
        case "names":
            return tuple(names_in(facets))
    link = facets.get(LINK)
    return (LINK, *link) if link else PRESENT


_PARTS = frozenset(
    ("kind", "attribute", "follows", "import", "heading", "standard", "names", EXISTS)
)


def digest_of(facet: Facet | None) -> str:
    """Return sixteen hex digits that identify a facet; empty for a missing one."""
    if facet is None:
        return ABSENT
    return sha256("\0".join((str(len(facet)), *facet)).encode(errors="replace")).hexdigest()[:16]


def changed(before: Mapping[str, Facet], after: Mapping[str, Facet]) -> list[str]:
    """Return the keys, sorted, under which two outlines differ."""
    if before is after:
        return []
    keys = [
        key for key, facet in after.items()
        if (old := before.get(key)) is not facet and old != facet
    ]  # fmt: skip
    if len(before) + sum(key not in before for key in keys) > len(after):
        keys += [key for key in before if key not in after]
    return sorted(keys)


def applied(before: Outline | None, fact: ModuleOutlined) -> Outline:
    """Return the outline that a fact records, which may be the difference to the one before."""
    facets = {} if fact.base is None or before is None else dict(before.facets)
    for key in fact.gone:
        facets.pop(key, None)
    facets.update(fact.set)
    return Outline(facets, lines_by_name(facets, fact.lines))


def lines_by_name(facets: Mapping[str, Facet], lines: Sequence[int]) -> Lines:
    """Return each qualified name's first and last line; empty if names and lines disagree."""
    if isinstance(facets, Map) and isinstance(lines, tuple):
        return _lines(_Same(facets, lines))
    return _lines_by_name(names_in(facets), lines)


def _lines_by_name(names: Sequence[str], lines: Sequence[int]) -> Lines:
    if len(lines) != 2 * len(names):
        return {}
    return dict(zip(names, zip(lines[::2], lines[1::2], strict=True), strict=True))


def names_in(facets: Mapping[str, Facet]) -> list[str]:
    """Return the qualified names of the functions, methods, classes and tests, sorted."""
    return list(_names(_Same(facets, ()))) if isinstance(facets, Map) else _names_in(facets)


def _names_in(facets: Mapping[str, Facet]) -> list[str]:
    return sorted([key[4:] for key in facets if key[:4] == "sig:"])


class _Same:
    """Facets and lines that never change, known by which they are."""

    def __init__(self, facets: Facets, lines: tuple[int, ...]) -> None:
        self.facets, self.lines = facets, lines

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Same) and other.facets is self.facets and other.lines is self.lines
        )

    def __hash__(self) -> int:
        return id(self.facets)


@lru_cache(maxsize=4_096)
def _names(of: _Same) -> tuple[str, ...]:
    return tuple(_names_in(of.facets))


@lru_cache(maxsize=1_024)
def _lines(of: _Same) -> Lines:
    return _lines_by_name(names_in(of.facets), of.lines)


def shows(key: str) -> bool:
    """Return whether names in other modules are resolved through a facet."""
    return key in ("stars", LINK) or key.startswith(_SHOWN)


_SHOWN = ("name:", "other:", "type:", "sig:", "bases:", "attributes:")


def moves_surface(before: Facets, fact: ModuleOutlined) -> bool:
    """Return whether a difference to an outline may change the digest of `surface_of`."""
    return any(map(shows, fact.gone)) or any(
        key not in before or _shown(key, facet) != _shown(key, before[key])
        for key, facet in fact.set.items()
        if shows(key)
    )


def _shown(key: str, facet: Facet) -> Facet:
    """Return what counts of a facet: of a signature only its kind, such as function or class."""
    return facet[:1] if key.startswith("sig:") else facet


def surface_of(facets: Facets) -> str:
    """Return a digest of all facets through which other modules resolve names; empty for none."""
    parts = [(key, *_shown(key, facets[key])) for key in sorted(filter(shows, facets))]
    return digest_of(tuple(map("\x01".join, parts))) if parts else ""
