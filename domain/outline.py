"""What is in a module, told in facets: small named pieces, each compared with its past alone.

A facet is a tuple of texts under a key. What somebody made of a module is then out of date when
one of the facets that were read has changed, and not when anything at all has. Keys, where
`Q` is a qualified name within the module (`Cart.total`) and `N` a name in its namespace:

| key | texts |
|---|---|
| `doc` | the first paragraph of the module's docstring |
| `error` | the line and message of what does not parse; all else is then of the last good version |
| `imports` | every module imported anywhere in it, as written: `os.path`, `.models`, `..` |
| `standard` | those of the imported top-level names that belong to the language's own library |
| `stars` | the modules that all names are imported from, as written |
| `name:N` | what a name of the namespace is bound to, see below |
| `heading` | the headings of a document, in order |
| `sig:Q` | kind (function, method, class or test), then the signature as written |
| `doc:Q` | the first paragraph of the docstring |
| `decorators:Q`, `bases:Q` | expressions as written |
| `attributes:Q` | of a class: `name=dotted.type` where a type can be read off, else `name` |
| `calls:Q` | what is called, as dotted names: `self.total`, `utils.clean`; sorted, once each |
| `locals:Q` | names bound by imports inside a function: `name=import a.b`, `name=from .x y` |
| `raises:Q`, `effects:Q` | exceptions; kinds of side effect: files, globals, network, subprocess |
| `uses:Q` | dotted names that are read and not called: `self.items`, `LIMIT`, `utils.LIMIT` |
| `config:Q` | names of settings that are read from the environment |
| `body:Q` | a digest of the source text; how many versions of the module have changed it so far |

A name is bound to `("def",)`, what is defined under it here; `("import", "pkg.mod")`, a module;
`("from", "..pkg.mod", "thing")`, a name of another module, as written; `("alias", "dotted.name")`,
something assigned to it; or `("value", text)`, any other value, with its text where it is a
literal of at most 80 characters. A facet that would be empty is not there.
Pure: nothing here parses anything.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from immutables import Map

from backcast.domain.events import ModuleOutlined

Facet = tuple[str, ...]
Facets = Map[str, Facet]
Lines = Mapping[str, tuple[int, int]]
"Per qualified name, its first and last line, counted from 1."

ABSENT = ""
"The digest of a facet that is not there."
EXISTS = ""
"The key under which it is told that there is such a module at all."
PRESENT: Facet = ("present",)
SOURCE = "source"
"The key of the name of the text that was outlined; projections add it, not outliners."


class Outline(NamedTuple):
    """The inside of one version of a module."""

    facets: Mapping[str, Facet]
    lines: Lines


def part_of(facets: Mapping[str, Facet], key: str) -> Facet | None:
    """A facet of a module that is there, or a part of one; None where there is none.

    Parts let a reader depend on less than a whole facet: `kind:Q` on the first text of `sig:Q`,
    `attribute:C.x` on what the class C says of x, `follows:Q` on the calls that may be followed,
    `import:M` and `heading:H` on one that is there, `names` on which functions and classes there
    are, `EXISTS` on the module's being there.
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
            told = (one.partition("=") for one in facets.get(f"attributes:{owner}", ()))
            return next(((of,) for plain, _, of in told if plain == attribute), None)
        case "follows":
            return tuple(one for one in facets.get(f"calls:{name}", ()) if one[:1] != "?")
        case "import" | "heading":
            there = facets.get("imports" if head == "import" else head, ())
            return PRESENT if name in there else None
        case "names":
            return tuple(names_in(facets))
    return PRESENT


_PARTS = frozenset(("kind", "attribute", "follows", "import", "heading", "names", EXISTS))


def digest_of(facet: Facet | None) -> str:
    """Sixteen hex digits that tell a facet from every other; empty where there is none."""
    if facet is None:
        return ABSENT
    return sha256("\0".join((str(len(facet)), *facet)).encode(errors="replace")).hexdigest()[:16]


def changed(before: Mapping[str, Facet], after: Mapping[str, Facet]) -> list[str]:
    """The keys, sorted, under which two outlines differ."""
    keys = set(before) | set(after)
    return sorted(key for key in keys if before.get(key) != after.get(key))


def applied(before: Outline | None, told: ModuleOutlined) -> Outline:
    """The outline that a fact tells, which may be the difference to the one before."""
    facets = {} if told.base is None or before is None else dict(before.facets)
    for key in told.gone:
        facets.pop(key, None)
    facets.update(told.set)
    return Outline(facets, lines_by_name(facets, told.lines))


def lines_by_name(facets: Mapping[str, Facet], lines: Sequence[int]) -> dict[str, tuple[int, int]]:
    """First and last line of each qualified name; empty where names and lines do not agree."""
    names = names_in(facets)
    if len(lines) != 2 * len(names):
        return {}
    return dict(zip(names, zip(lines[::2], lines[1::2], strict=True), strict=True))


def names_in(facets: Mapping[str, Facet]) -> list[str]:
    """The qualified names of the functions, methods, classes and tests, sorted."""
    return sorted([key[4:] for key in facets if key[:4] == "sig:"])


def shows(key: str) -> bool:
    """Whether names in other modules are resolved through a facet."""
    return key == "stars" or key.startswith(("name:", "sig:", "bases:", "attributes:"))


def surface_of(facets: Facets) -> str:
    """A digest of all that names in other modules are resolved through; empty for nothing."""
    keys = sorted(filter(shows, facets))
    # Of a signature only that it is there, and whether it is that of a class.
    told = ((key, *(facets[key][:1] if key.startswith("sig:") else facets[key])) for key in keys)
    return digest_of(tuple("\x01".join(one) for one in told)) if keys else ""
