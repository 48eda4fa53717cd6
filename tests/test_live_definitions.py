"""Each live definition of a name is in the outline, with an id of its own, and so are its calls."""

from textwrap import dedent

import pytest

from backcast.domain.outline import names_in
from backcast.engine.memory.outliner import python
from tests.sources import facets_of, graph_of

SHAPES = """
    from functools import singledispatch

    from sides import round_area, square_area

    @singledispatch
    def area(shape): raise TypeError

    @area.register
    def _(shape: Circle):
        return round_area(shape)

    @area.register
    def _(shape: Square):
        return square_area(shape)
    """


def found(source: str, path: str = "a.py") -> list[str]:
    """The names of functions and classes in a source."""
    return names_in(facets_of(path, source))


def test_all_that_were_registered_are_there_and_their_calls_are_followed() -> None:
    sides = "def round_area(s): ...\ndef square_area(s): ..."
    graph = graph_of({"shapes.py": SHAPES, "sides.py": sides})
    calls = {(e.source, e.target) for e in graph.edges if e.kind == "calls"}
    assert calls == {
        ("function:shapes.py::_#2", "function:sides.py::round_area"),
        ("function:shapes.py::_", "function:sides.py::square_area"),
    }


TWICE = "def f(): one()\n", "def f(): two()\n"
REGISTERED = (
    "@app.route('/{n}')", "@area.register", "@area.register(int)", "@router.get('/{n}')",
    "@app.command()", "@pytest.hookimpl", "@app.task", "@handlers['{n}']", "@on.event('{n}')",
    "@hook", "@validator('{n}')",
)  # fmt: skip
PASSED = (
    "@property", "@functools.lru_cache(1)", "@staticmethod", "@contextmanager", "@pytest.fixture",
    "@pytest.mark.skip", "@functools.wraps(g)",
)  # fmt: skip


@pytest.mark.parametrize("decorator", REGISTERED)
@pytest.mark.parametrize("inside", [False, True])
def test_a_decorator_that_may_keep_a_function_keeps_it_alive(decorator: str, inside: bool) -> None:
    source = "".join(f"{decorator.format(n=n)}\n{one}" for n, one in enumerate(TWICE))
    if inside:
        source = "class C:\n" + "".join(f"  {line}\n" for line in source.splitlines())
        assert found(source) == ["C", "C.f", "C.f#2"]
        assert "one" in facets_of("a.py", source)["calls:C.f#2"]
    else:
        assert found(source) == ["f", "f#2"]
        facets = facets_of("a.py", source)
        assert "one" in facets["calls:f#2"]
        assert "two" in facets["calls:f"]
        assert "one" not in facets["calls:f"]


@pytest.mark.parametrize("decorator", ["", *PASSED])
def test_one_that_keeps_nothing_leaves_the_last(decorator: str) -> None:
    source = "".join(f"{decorator}\n{one}" for one in TWICE)
    assert found(source) == ["f"]
    assert "two" in facets_of("a.py", source)["calls:f"]


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("try:\n  import x\n  def f(): one()\nexcept ImportError:\n  def f(): two()", "one two"),
        ("if fast:\n  def f(): one()\nelse:\n  def f(): two()", "one two"),
        ("if TYPE_CHECKING:\n  def f(): one()\nelse:\n  def f(): two()", "two one"),
        ("if not TYPE_CHECKING:\n  def f(): one()\nelse:\n  def f(): two()", "one two"),
        ("if sys.version_info < (3,):\n  def f(): one()\nelse:\n  def f(): two()", "two one"),
        ("if sys.version_info[0] >= 3:\n  def f(): one()\nelse:\n  def f(): two()", "one two"),
        ("if os.name == 'nt':\n  def f(): one()\nelse:\n  def f(): two()", "two one"),
        ("def f(): two()\nif fast:\n  def f(): one()", "one two"),
        ("def f(): two()\nif TYPE_CHECKING:\n  def f(): one()", "two one"),
        ("def f(): two()\nif False:\n  def f(): one()", "two one"),
        ("def f(): two()\ntry:\n  def f(): one()\nfinally:\n  pass", "one two"),
        ("if a:\n  def f(): one()\nelif b:\n  def f(): two()\nelse:\n  def f(): three()",
         "one two three"),
        ("match a:\n  case 1:\n    def f(): two()\n  case 2:\n    def f(): one()", "one two"),
        ("import x\nif x:\n  def f(): one()\nelse:\n  def f(): two()", "one two"),
        ("import x\nif x is None:\n  def f(): two()\nelse:\n  def f(): one()", "one two"),
    ],
)  # fmt: skip
def test_of_two_branches_the_usual_has_the_name_and_none_is_lost(source: str, calls: str) -> None:
    facets = facets_of("a.py", source)
    names = ["f", *(f"f#{n}" for n in range(2, 2 + calls.count(" ")))]
    assert names_in(facets) == names
    assert " ".join(facets[f"calls:{name}"][0] for name in names) == calls


def test_a_later_definition_that_always_runs_ends_those_in_branches() -> None:
    assert found("if a:\n  def f(): one()\nelse:\n  def f(): two()\ndef f(): three()") == [
        "f",
        "f#2",
    ]
    assert found("if a:\n  def f(): one()\ndef f(): three()") == ["f"]


def test_methods_of_the_other_class_are_there_too() -> None:
    source = """
        try:
            from x import Base
        except ImportError:
            class Base: ...

        if fast:
            class C(Base):
                def m(self): self.n()
                def n(self): ...
        else:
            class C:
                def m(self): self.k()
                def k(self): ...
        """
    assert found(source) == ["Base", "C", "C#2", "C#2.k", "C#2.m", "C.m", "C.n"]
    calls = [(e.source, e.target) for e in graph_of({"a.py": source}).edges if e.kind == "calls"]
    assert calls == [
        ("method:a.py::C#2.m", "method:a.py::C#2.k"),
        ("method:a.py::C.m", "method:a.py::C.n"),
    ]


def test_variants_of_an_overload_are_one_function_with_all_signatures() -> None:
    source = """
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x): return x
        """
    facets = facets_of("a.py", source)
    assert names_in(facets) == ["f"]
    assert facets["sig:f"] == ("function", "(x)")
    assert facets["overloads:f"] == ("(x: int) -> int", "(x: str) -> str")


def test_parts_of_a_property_stay_one() -> None:
    source = """
        class C:
            @property
            def x(self): ...
            @x.setter
            def x(self, v): ...
            @x.deleter
            def x(self): ...
        """
    assert found(source) == ["C", "C.x"]


def test_lines_of_each_are_its_own() -> None:
    outline = python.outline("shapes.py", dedent(SHAPES).encode())
    assert (outline.lines["_#2"], outline.lines["_"]) == ((9, 11), (13, 15))
