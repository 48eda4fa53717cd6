"""How does a project write its code? What its outlines count, where the counts show it clearly.

Each module is counted for itself, so that a commit costs the modules that it changed. A pattern is
told in two ways: with its exact counts, and briefly with shares that a single commit rarely moves.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.node import plain_name
from backcast.domain.outline import Facet, names_in
from backcast.domain.paths import is_hidden, is_own, is_test

Counts = Mapping[str, int]
"What was counted in some modules, by name."
CLEAR, RARE = 0.7, 0.15
"A share from which on something is a habit, and up to which it is one to do without."
LEAST = 8
"Things that have to be counted before a share of them says anything."
NAMED = 4
"Names that are listed of one kind."
STEP = 5
"Percent to which brief shares are rounded."
_REFUSALS = ("TypeError", "ValueError")
_VALIDATORS = ("field_validator", "model_validator", "validator", "root_validator")
"Ends of decorators that make a method check a value: of pydantic, attrs and others."
_DATA = {
    "dataclass": "dataclasses", "dataclasses.dataclass": "dataclasses",
    "attrs.define": "attrs classes", "attr.s": "attrs classes", "define": "attrs classes",
    "attr.define": "attrs classes", "attrs.frozen": "attrs classes", "attr.attrs": "attrs classes",
}  # fmt: skip
_BASES = {
    "BaseModel": "pydantic models", "TypedDict": "TypedDicts", "NamedTuple": "NamedTuples",
    "Enum": "enums", "IntEnum": "enums", "StrEnum": "enums", "Protocol": "protocols",
    "ABC": "abstract classes",
}  # fmt: skip


class ProjectPattern(NamedTuple):
    """A habit of a project."""

    subject: str
    exact: str
    "With the counts that show it."
    brief: str
    "The same with rounded shares, and without counts."

    def said(self) -> str:
        """Return it in words, with its counts."""
        return f"{self.subject}: {self.exact}"


def project_patterns(modules: Mapping[str, Mapping[str, Facet]]) -> list[ProjectPattern]:
    """Return the habits that the outlines of a project show, the most telling first."""
    total = Counter[str]()
    for path in sorted(modules):
        total.update(counts_of(path, modules[path]))
    return patterns_of(total)


def counts_of(path: str, facets: Mapping[str, Facet]) -> Counter[str]:
    """Return what counts in one module; empty for what is no code of the project itself."""
    found = Counter[str]()
    if not path.endswith(".py"):
        return found
    names = names_in(facets)
    if is_test(path) and not is_hidden(path):
        _count_tests(found, path, facets, names)
    if not is_own(path):
        return found
    found["modules"] += bool(names)
    for name in names:
        kind, *_ = facets[f"sig:{name}"] or ("function",)
        if kind == "class":
            _count_class(found, facets, name)
        elif kind in ("function", "method"):
            _count_function(found, facets, name)
    if names:
        _count_imports(found, facets)
    return found


def _count_tests(
    found: Counter[str], path: str, facets: Mapping[str, Facet], names: Iterable[str]
) -> None:
    for name in names:
        kind, *_ = facets[f"sig:{name}"] or ("function",)
        marks = facets.get(f"decorators:{name}", ())
        found["fixtures"] += any("fixture" in mark.partition("(")[0] for mark in marks)
        if kind == "test":
            found["tests"] += 1
            found["test functions"] += "." not in name
            found["parametrized"] += any(".parametrize(" in mark for mark in marks)
            calls = facets.get(f"calls:{name}", ())
            found["self.assert"] += any(call.startswith("self.assert") for call in calls)
            found["pytest.raises"] += "pytest.raises" in calls
            found[f"test folder:{path.rpartition('/')[0].partition('/')[0]}"] += 1


def _count_class(found: Counter[str], facets: Mapping[str, Facet], name: str) -> None:
    bases = [base.partition("[")[0] for base in facets.get(f"bases:{name}", ())]
    last = [base.rpartition(".")[2] for base in bases]
    found["classes"] += 1
    for mark in facets.get(f"decorators:{name}", ()):
        if what := _DATA.get(mark.partition("(")[0]):
            found[f"data:{what}"] += 1
    for what in dict.fromkeys(_BASES[base] for base in last if base in _BASES):
        found[f"data:{what}"] += 1
    plain = plain_name(name.rpartition(".")[2])
    if plain.endswith(("Error", "Exception")) or any(
        base.endswith(("Error", "Exception")) for base in last
    ):
        found[f"own:{plain}"] += 1
    if not plain.startswith("_"):
        _count_doc(found, facets, name)


def _count_function(found: Counter[str], facets: Mapping[str, Facet], name: str) -> None:
    plain = plain_name(name.rpartition(".")[2])
    special = plain.startswith("__")
    _, signature, *_ = (*facets[f"sig:{name}"], "", "")
    if not special:
        found["functions"] += 1
        found["private"] += plain.startswith("_")
        found["typed"] += "->" in signature
        if not plain.startswith("_"):
            _count_doc(found, facets, name)
    raised = facets.get(f"raises:{name}", ())
    found["raising"] += bool(raised)
    for error in dict.fromkeys(error.rpartition(".")[2] for error in raised):
        found[f"raises:{error}"] += error[:1].isupper()
    for mark in facets.get(f"decorators:{name}", ()):
        end = mark.partition("(")[0].rpartition(".")[2]
        if end in _VALIDATORS:
            found[f"validator:{end}"] += 1


def _count_doc(found: Counter[str], facets: Mapping[str, Facet], name: str) -> None:
    found["public"] += 1
    found["documented"] += f"doc:{name}" in facets


def _count_imports(found: Counter[str], facets: Mapping[str, Facet]) -> None:
    imports = facets.get("imports", ())
    relative = any(one.startswith(".") for one in imports)
    found["relative"] += relative
    found["logging"] += "logging" in imports
    for key in facets:
        if key.startswith("name:"):
            name, binding = key[5:], facets[key]
            if binding[:1] == ("import",) and len(binding) == 2:
                module = binding[1]
                if name != module.partition(".")[0]:
                    found[f"alias:{module} as {name}"] += 1
            elif name in ("logger", "log", "LOGGER", "_logger", "_log") and "logging" in imports:
                found[f"logger:{name}"] += 1
            elif binding[:2] == ("from", "__future__"):
                found["future annotations"] += name == "annotations"


def patterns_of(counts: Counts) -> list[ProjectPattern]:
    """Return the habits that some counts show clearly, the most telling first."""
    makers = (_typing, _imports, _errors, _validation, _docstrings, _logging, _tests, _names)
    return [pattern for make in makers for pattern in make(counts)]


class _Said:
    """The parts of a pattern, exact and brief."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.exact, self.brief = list[str](), list[str]()

    def share(self, of: str, count: int, whole: int, *, what: str, rare: str = "") -> None:
        """Add a share if it is a habit, or, with words for `rare`, one to do without."""
        if whole < LEAST:
            return
        if count >= CLEAR * whole:
            self.add(f"{what} {count} of {whole} {of}", f"{what} {percent(count, whole)} of {of}")
        elif rare and count <= RARE * whole:
            self.add(f"{rare}: {count} of {whole} {of}", f"{rare}")

    def add(self, exact: str, brief: str = "") -> None:
        self.exact.append(exact)
        self.brief.append(brief or exact)

    def patterns(self) -> Iterator[ProjectPattern]:
        """Yield the pattern, if anything was clear."""
        if self.exact:
            yield ProjectPattern(self.subject, "; ".join(self.exact), "; ".join(self.brief))


def _typing(counts: Counts) -> Iterator[ProjectPattern]:
    said, functions = _Said("Types"), counts.get("functions", 0)
    said.share(
        "functions", counts.get("typed", 0), functions, what="results annotated in",
        rare="annotations are rare",
    )  # fmt: skip
    said.share(
        "modules", counts.get("future annotations", 0), counts.get("modules", 0),
        what="from __future__ import annotations in",
    )  # fmt: skip
    return said.patterns()


def _imports(counts: Counts) -> Iterator[ProjectPattern]:
    said, modules = _Said("Imports"), counts.get("modules", 0)
    said.share("modules", counts.get("relative", 0), modules, what="relative in")
    aliases = {name: count for name, count in _named(counts, "alias:").items()
               if count >= 3 and count >= RARE * modules}  # fmt: skip
    _list(said, "", "import ", aliases)
    return said.patterns()


def _errors(counts: Counts) -> Iterator[ProjectPattern]:
    said, raised = _Said("Errors"), _named(counts, "raises:")
    own = {name: raised[name] for name in _named(counts, "own:") if raised.get(name, 0) > 1}
    others = {name: count for name, count in raised.items() if name not in own}
    if counts.get("raising", 0) >= LEAST:
        _list(said, "own ", "", own)
        _list(said, "else " if own else "", "", {n: c for n, c in others.items() if c >= 3})
    return said.patterns()


def _validation(counts: Counts) -> Iterator[ProjectPattern]:
    said, classes = _Said("Data and checks"), counts.get("classes", 0)
    data = {name: count for name, count in _named(counts, "data:").items()
            if count >= 3 and count >= 0.05 * classes}  # fmt: skip
    for name in _ranked(data)[:NAMED]:
        said.add(f"{data[name]} {name} of {classes} classes", name)
    validators = _named(counts, "validator:")
    _list(said, "validators ", "", {n: c for n, c in validators.items() if c >= 3})
    errors = _named(counts, "raises:")
    refusals = {name: errors[name] for name in _REFUSALS if errors.get(name, 0) >= 3}
    raising = counts.get("raising", 0)
    if raising >= LEAST and sum(refusals.values()) >= 0.2 * raising:
        _list(said, "bad input raises ", "", refusals)
    return said.patterns()


def _docstrings(counts: Counts) -> Iterator[ProjectPattern]:
    said = _Said("Docstrings")
    said.share("public functions and classes", counts.get("documented", 0),
               counts.get("public", 0), what="on", rare="rare")  # fmt: skip
    return said.patterns()


def _logging(counts: Counts) -> Iterator[ProjectPattern]:
    said, names = _Said("Logging"), _named(counts, "logger:")
    if names and (first := _ranked(names)[0]) and names[first] >= 3:
        said.add(f"a module's `{first}` in {names[first]} of {counts['logging']} modules that log",
                 f"a module's `{first}`")  # fmt: skip
    return said.patterns()


def _tests(counts: Counts) -> Iterator[ProjectPattern]:
    said, tests = _Said("Tests"), counts.get("tests", 0)
    if tests < LEAST:
        return said.patterns()
    folders = _named(counts, "test folder:")
    first = _ranked(folders)[0]
    where = f"in {first}/ " if first and folders[first] >= CLEAR * tests else ""
    functions, classes = counts.get("test functions", 0), tests - counts.get("test functions", 0)
    said.share(f"tests {where}".strip(), functions, tests, what="functions test_*,")
    said.share(f"tests {where}".strip(), classes, tests, what="methods of classes,")
    said.share("tests", counts.get("self.assert", 0), tests, what="self.assert... in")
    for what, key in (("parametrized", "parametrized"), ("pytest.raises in", "pytest.raises")):
        if counts.get(key, 0) >= 0.1 * tests:
            said.add(f"{what} {counts[key]}", what.removesuffix(" in"))
    if counts.get("fixtures", 0) >= 3:
        said.add(f"{counts['fixtures']} fixtures", "fixtures")
    return said.patterns()


def _names(counts: Counts) -> Iterator[ProjectPattern]:
    said, functions = _Said("Names"), counts.get("functions", 0)
    private = counts.get("private", 0)
    if functions >= LEAST and private >= 0.2 * functions:
        said.add(f"private ones begin with _: {private} of {functions} functions",
                 f"helpers begin with _ ({percent(private, functions)})")  # fmt: skip
    return said.patterns()


def _list(said: _Said, head: str, each: str, found: Counts) -> None:
    if found:
        names = _ranked(found)[:NAMED]
        said.add(
            head + ", ".join(f"{each}{name} {found[name]}" for name in _most(found, names)),
            head + ", ".join(f"{each}{name}" for name in sorted(names)),
        )


def _named(counts: Counts, key: str) -> dict[str, int]:
    return {name[len(key) :]: count for name, count in counts.items()
            if count > 0 and name.startswith(key)}  # fmt: skip


def _ranked(found: Counts) -> list[str]:
    """Return names, the most counted first; counts of about one size by name, so that the next
    commit seldom changes the order."""
    return sorted(found, key=lambda name: (-found[name].bit_length(), name))


def _most(found: Counts, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (-found[name], name))


def percent(count: int, whole: int) -> str:
    """Return a share in steps of some percent.

    >>> percent(412, 430), percent(3, 3)
    ('95 %', '100 %')
    """
    return f"{STEP * round(100 * count / whole / STEP)} %"
