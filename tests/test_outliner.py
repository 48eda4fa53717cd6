"""What outlines tell of modules and documents: a story for each rule, bad input, and laws."""

import subprocess
import sys
import warnings
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.outline import Facet, Outline, changed
from backcast.engine.memory.outliner import markdown, outliner_of, python

NONE: Facet = ()


def told(text: str, path: str = "shop.py") -> dict[str, Facet]:
    """The facets of a module."""
    return dict(python.outline(path, dedent(text).encode()).facets)


def lines(text: str) -> dict[str, tuple[int, int]]:
    return dict(python.outline("shop.py", dedent(text).encode()).lines)


def inside(body: str, key: str, head: str = "def f(x):") -> Facet:
    """A facet of a function with a body."""
    text = "\n".join([head, *(f"    {line}" for line in dedent(body).strip().split("\n"))])
    return told(text).get(f"{key}:f", NONE)


def names(text: str) -> dict[str, Facet]:
    """The bindings of a module."""
    facets = told(text)
    return {key.removeprefix("name:"): facets[key] for key in facets if key.startswith("name:")}


def without_counts(outline: Outline) -> dict[str, Facet]:
    """The facets, without how many versions have changed each body."""
    facets = outline.facets
    return {key: facets[key][:1] if key.startswith("body:") else facets[key] for key in facets}


def test_an_outliner_is_found_by_the_suffix_of_a_path() -> None:
    assert outliner_of("a/b.py") is python
    assert outliner_of("a/b.pyi") is python
    assert outliner_of("README.MD") is markdown
    assert outliner_of("a/py") is None


def test_functions_methods_classes_and_tests_are_told_apart() -> None:
    text = """
        def total(): ...
        def test_total(): ...
        class TestCart:
            class Inner:
                def deep(self): ...
            def test_it(self): ...
            async def setup(self): ...
        if x:
            with y:
                def guarded(): ...
        def outer():
            def nested(): ...
            class Local:
                def method(self): ...
    """
    assert {key: facet for key, facet in told(text, "tests/shop.py").items() if "sig:" in key} == {
        "sig:total": ("function", "()"),
        "sig:test_total": ("test", "()"),
        "sig:TestCart": ("class", ""),
        "sig:TestCart.Inner": ("class", ""),
        "sig:TestCart.Inner.deep": ("method", "(self)"),
        "sig:TestCart.test_it": ("test", "(self)"),
        "sig:TestCart.setup": ("method", "async (self)"),
        "sig:guarded": ("function", "()"),
        "sig:outer": ("function", "()"),
    }
    assert told(text, "shop/cart.py")["sig:test_total"] == ("function", "()")
    for path in ("test_cart.py", "shop/cart_test.py", "test/cart.py"):
        assert told(text, path)["sig:test_total"] == ("test", "()")


@pytest.mark.parametrize(
    ("written", "told_as"),
    [
        ("(text:str,*,strict:bool=False)->bool", "(text: str, *, strict: bool = False) -> bool"),
        ("(a, /, b=1, *args, c, **more)", "(a, /, b=1, *args, c, **more)"),
        ("(a: 'Cart'=None)", "(a: 'Cart' = None)"),
        ("(a: dict[str,list[int]|None])", "(a: dict[str, list[int] | None])"),
        ("(a: Callable[[int],str], b: tuple[()])", "(a: Callable[[int], str], b: tuple[()])"),
        (f"(a={'x' * 41})", "(a=...)"),
        (f"(a={'x' * 40})", f"(a={'x' * 40})"),
        ("(a: (int|str)[T], b: int|(str|None))", "(a: (int | str)[T], b: int | (str | None))"),
        ("(a=lambda:   0)", "(a=lambda: 0)"),
        (f"(a=0x{'f' * 5000})", "(a=...)"),
    ],
)
def test_a_signature_is_as_written_in_one_spelling(written: str, told_as: str) -> None:
    assert told(f"def f{written}: ...")["sig:f"] == ("function", told_as)


def test_of_a_docstring_the_first_paragraph_is_told() -> None:
    text = '''
        """The shop.
        \tAll of it.

        More."""
        class Cart:
            """A \\ud800 cart."""
            def total(self):
                """
                The sum,
                  with tax.
                \x20
                Details.
                """
            def empty(self):
                "" "one" " text"
            def silent(self):
                f"no {doc}"
    '''
    facets = told(text)
    assert facets["doc"] == ("The shop. All of it.",)
    assert facets["doc:Cart"] == ("A \ufffd cart.",)
    assert facets["doc:Cart.total"] == ("The sum, with tax.",)
    assert facets["doc:Cart.empty"] == ("one text",)
    assert "doc:Cart.silent" not in facets


def test_names_of_a_module_are_bound_to_what_they_stand_for() -> None:
    assert names("""
        import a.b
        import a.b as ab
        from .m import y as z, w
        from m import *
        X = some.dotted.name
        LIMIT: int = 3
        TEXT = 'long' * 2
        LOW, (HIGH, *REST) = -1, (2, 3)
        P, Q = 'p', [1, (2,)]
        declared: str
        count += 1
        for i, j in pairs: pass
        with open(x) as file: pass
        if (n := 10) > 5: pass
        class C: pass
        obj.attribute = items[0] = 1
        match command:
            case [first, *others] if (m := 1): pass
            case {'k': value, **rest}: pass
    """) == {
        "a": ("import", "a"),
        "ab": ("import", "a.b"),
        "z": ("from", ".m", "y"),
        "w": ("from", ".m", "w"),
        "X": ("alias", "some.dotted.name"),
        "LIMIT": ("value", "3"),
        "TEXT": ("value", ""),
        "LOW": ("value", "-1"),
        "HIGH": ("value", ""),
        "REST": ("value", ""),
        "P": ("value", "'p'"),
        "Q": ("value", "[1, (2,)]"),
        "declared": ("value", ""),
        "count": ("value", ""),
        "i": ("value", ""),
        "j": ("value", ""),
        "file": ("value", ""),
        "n": ("value", "10"),
        "C": ("def",),
        "first": ("value", ""),
        "others": ("value", ""),
        "m": ("value", "1"),
        "value": ("value", ""),
        "rest": ("value", ""),
    }  # fmt: skip


def test_a_literal_of_more_than_80_characters_is_a_value_without_text() -> None:
    assert names(f"A = '{'x' * 78}'\nB = '{'x' * 79}'\nC = {list(range(99))}") == {
        "A": ("value", repr("x" * 78)),
        "B": ("value", ""),
        "C": ("value", ""),
    }


def test_the_last_definition_wins_but_not_that_of_the_other_branch() -> None:
    bound = names("""
        x = 1
        x = 2
        try:
            import fast as codec
            first = 1
            first = 2
        except ImportError:
            import slow as codec
            only = 1
        else:
            done = True
        if TYPE_CHECKING:
            from a import T
        elif other:
            T = second = 1
            second = 2
        else:
            T = second = None
            x = 3
    """)
    assert bound == {
        "x": ("value", "3"),
        "codec": ("import", "fast"),
        "first": ("value", "2"),
        "only": ("value", "1"),
        "done": ("value", "True"),
        "T": ("from", "a", "T"),
        "second": ("value", "2"),
    }


def test_a_function_in_an_except_branch_does_not_replace_the_one_tried_first() -> None:
    facets = told("""
        try:
            def f(fast): import quick
        except ImportError:
            def f(slow): import careful
    """)
    assert facets["sig:f"] == ("function", "(fast)")
    assert facets["imports"] == ("careful", "quick")


def test_exported_names_are_kept_at_length() -> None:
    many = [f"name_{n}" for n in range(100)]
    assert names(f"__all__ = {many}\n__all__ += more.__all__")["__all__"] == (
        "value",
        f"{many} + more.__all__",
    )
    (_, text) = names(f"__all__ = {[f'name_{n}' for n in range(1000)]}")["__all__"]
    assert len(text) <= 2000
    assert text.startswith("['name_0', ")
    assert text.endswith("]")


def test_imports_are_told_wherever_they_stand() -> None:
    facets = told("""
        import os.path, shop.cart
        from . import x
        from .a import b
        from ..c import *
        from json import *
        def f():
            if x:
                from xml.etree import ElementTree
            def g(): import inner
        class C:
            import in_class
            def m(self): import in_method
        def overridden(): from old import one
        def overridden(): pass
    """)
    assert facets["imports"] == (
        ".", "..c", ".a", "in_class", "in_method", "inner", "json", "old", "os.path", "shop.cart",
        "xml.etree",
    )  # fmt: skip
    assert facets["standard"] == ("json", "os", "xml")
    assert facets["stars"] == ("..c", "json")


def test_a_property_and_its_setter_are_one_symbol() -> None:
    text = """
        class Cart:
            @property
            def total(self) -> int:
                "The sum."
                return self.add()

            @total.setter
            def total(self, value):
                self.check(value)
            other = 1
    """
    facets = told(text)
    assert facets["sig:Cart.total"] == ("method", "(self) -> int")
    assert facets["doc:Cart.total"] == ("The sum.",)
    assert facets["decorators:Cart.total"] == ("property",)
    assert facets["calls:Cart.total"] == ("self.add", "self.check")
    assert "uses:Cart.total" not in facets
    assert lines(text)["Cart.total"] == (3, 10)
    assert changed(facets, told(text.replace("check(value)", "check( value)"))) == [
        "body:Cart", "body:Cart.total",
    ]  # fmt: skip


def test_overloads_are_told_by_their_implementation() -> None:
    text = """
        @overload
        def get(x: int) -> int: ...
        @typing.overload
        def get(x: str) -> str: ...
        def get(x):
            "Get it."
            return find(x)
        other = 1
        def get_more(): ...
    """
    facets = told(text)
    assert facets["sig:get"] == ("function", "(x)")
    assert facets["doc:get"] == ("Get it.",)
    assert facets["calls:get"] == ("find",)
    assert lines(text)["get"] == (2, 8)
    stub = "@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ..."
    assert told(stub, "f.pyi")["sig:f"] == ("function", "(x: int)")


def test_of_two_functions_of_one_name_the_last_wins() -> None:
    text = "def f(a): old()\ndef f(b): new()\nclass f2:\n def m(self): ...\nclass f2: ...\n"
    facets = told(text)
    assert facets["sig:f"] == ("function", "(b)")
    assert facets["calls:f"] == ("new",)
    assert "sig:f2.m" not in facets
    assert lines(text) == {"f": (2, 2), "f2": (5, 5)}


def test_lines_go_from_the_first_decorator_to_the_last_line() -> None:
    text = "\n@a\n@b\ndef f():\n    x = '''\n\n'''  # end\n\nclass C:\n    def m(self): ...\n"
    assert lines(text) == {"f": (2, 7), "C": (9, 10), "C.m": (10, 10)}


def test_parts_of_a_property_that_stand_apart_are_found_at_the_getter() -> None:
    text = (
        "class C:\n @property\n def x(self): ...\n y = 1\n @x.deleter\n def x(self): self.drop()\n"
    )
    assert lines(text)["C.x"] == (2, 3)
    assert told(text)["calls:C.x"] == ("self.drop",)


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ("a.b.c(d())", ("a.b.c", "d")),
        ("x.get(); x()", ("?x", "?x.get")),
        ("y = make(); y.go(); y()", ("?y", "?y.go", "make")),
        ("make().go().on()", ("?.go", "?.on", "make")),
        ("items[0].run(); ' '.join(x); x[0]()", ("?.join", "?.run")),
        ("len(x); str.upper(x); print()", NONE),
        ("[h(v) for v in x if v.ok()]; v()", ("?v.ok", "h", "v")),
        ("[w := 1 for _ in x]; w()", ("?w",)),
        ("(lambda p: p() + q())()", ("?p", "q")),
        ("def inner(z):\n    z(); x(); deep()\ninner()", ("?inner", "?x", "?z", "deep")),
        ("global g\ng = 1\ng()", ("g",)),
        ("def inner():\n    nonlocal x\n    x = 1\n    x()", ("?x",)),
        ("def inner():\n    global x\n    x()", ("x",)),
        ("import a.b, c as d\nfrom .y import z\na.b.f(); d(); z()", ("a.b.f", "d", "z")),
        ("for i in x: i()\nwith o() as w: w()\ntry: t()\nexcept E as e: e()",
         ("?e", "?i", "?w", "o", "t")),
        ("match x:\n    case [m, *r]: m(); r(); n()", ("?m", "?r", "n")),
        ("class L:\n    attribute = 1\n    def m(self): self.go(); attribute()",
         ("?self.go", "attribute")),
        ("super().go()", ("super.go",)),
        ("f(x)", ("f",)),
        ("del q; q()", ("?q",)),
        ("await x.a(*b(), **c()); yield d()", ("?x.a", "b", "c", "d")),
        ("f'{a()} {b():{c()}}'", ("a", "b", "c")),
    ],
)  # fmt: skip
def test_calls_are_told_as_dotted_names(body: str, calls: Facet) -> None:
    assert inside(body, "calls", "async def f(x):") == calls


def test_a_name_of_the_language_counts_when_the_module_binds_it() -> None:
    facets = told("from io import open\ndef print(): ...\ndef f(): open(); print(); len()")
    assert facets["calls:f"] == ("open", "print")
    assert facets["effects:f"] == ("files",)


def test_in_methods_the_first_parameter_is_self() -> None:
    facets = told("""
        class Cart(Base):
            limit = compute(1)
            def m(this):
                this.go()
                def inner(): this.on()
                super().m()
            @classmethod
            def make(cls): return cls.build(), cls()
            @staticmethod
            def plain(thing): thing.go()
    """)
    assert facets["calls:Cart.m"] == ("self.go", "self.on", "super.m")
    assert facets["calls:Cart.make"] == ("self", "self.build")
    assert facets["calls:Cart.plain"] == ("?thing.go",)
    assert facets["calls:Cart"] == ("compute",)


def test_decorators_defaults_and_bases_count_for_what_they_stand_at() -> None:
    facets = told("""
        @cache(size=limit())
        def f(x=default(), *, y: kind() = None): ...
        @register
        class C(make_base(), metaclass=Meta):
            helper = 1
            def m(self, x=clean()): ...
            value = [one() for _ in range(3)]
            again = helper
    """)
    assert facets["calls:f"] == ("cache", "default", "kind", "limit")
    assert facets["decorators:f"] == ("cache(size=limit())",)
    assert facets["calls:C"] == ("make_base", "one")
    assert facets["calls:C.m"] == ("clean",)
    assert facets["bases:C"] == ("make_base()", "metaclass=Meta")
    assert facets["uses:C"] == ("Meta", "register", "self.helper")


def test_imports_inside_a_function_are_locals_of_it() -> None:
    assert inside("import a.b\nimport c.d as e\nfrom .x import y as z", "locals") == (
        "a=import a", "e=import c.d", "z=from .x y",
    )  # fmt: skip


def test_attributes_of_a_class_tell_their_types_where_they_can_be_read_off() -> None:
    assert told("""
        class Cart:
            a: Money
            b: Money | None = None
            c: list[int]
            d = Client()
            e, g = pair
            h: "Money"
            i: Optional[shop.Money]
            if x:
                j = 1
            def __init__(self, k: Cart, l, m: Cart | None = None, Made=None):
                self.k = k
                self.l = l
                self.m, self.n = m, http.Client()
                self.o: Thing = make()
                self.p = None
                self.p = _Private()
                self.q.deep = self.r = compute()
                self.s = Made()
                other.t = 1
                with u() as self.u:
                    for self.v in x: pass
            @staticmethod
            def w(k): k.w = 1
            def late(self):
                def inner(): self.x = 1
                def other(self): self.y = 1
    """)["attributes:Cart"] == (
        "a=Money", "b=Money", "c", "d=Client", "e", "g", "h=Money", "i=shop.Money", "j", "k=Cart",
        "l", "m=Cart", "n=http.Client", "o=Thing", "p=_Private", "r", "s", "u", "v", "x",
    )  # fmt: skip


def test_raised_exceptions_are_told_unless_they_are_local() -> None:
    body = "raise ValueError('x') from e\nraise errors.Gone\nraise\nraise x\nraise x.Error()"
    assert inside(body, "raises") == ("ValueError", "errors.Gone")


@pytest.mark.parametrize(
    ("body", "effects"),
    [
        ("open(x)", ("files",)),
        ("x.write_text('')", ("files",)),
        ("Path(x).unlink()", ("files",)),
        ("os.remove(x)", ("files",)),
        ("os.path.join(x)", NONE),
        ("global n\nn = 1", ("globals",)),
        ("print(x)", ("output",)),
        ("sys.stdout.write(x)", ("output",)),
        ("import requests as r\nr.get(x)", ("network",)),
        ("from urllib.request import urlopen\nurlopen(x)", ("network",)),
        ("urllib.parse.quote(x)", NONE),
        ("from .http import client\nclient.get(x)", NONE),
        ("socket.socket()", ("network",)),
        ("subprocess.run(x); os.system(x); open(x)", ("files", "subprocess")),
        ("open = x\nopen()", NONE),
    ],
)
def test_side_effects_are_told_by_kind(body: str, effects: Facet) -> None:
    assert inside(body, "effects") == effects


def test_side_effects_are_seen_through_the_imports_of_the_module() -> None:
    text = "from subprocess import run as go\nfrom . import socket\ndef f(): go(); socket.x()"
    assert told(text)["effects:f"] == ("subprocess",)


def test_settings_are_told_by_name() -> None:
    facets = told("""
        from os import environ, getenv as g
        import os as system
        def f(x):
            os.environ['A'], environ['B'], x['C'], os.environ[x]
            os.environ.get('D', 1), os.getenv('E'), g('F'), system.getenv('G'), x.get('H')
            os.environ['I'] = 1
    """)
    assert facets["config:f"] == ("A", "B", "D", "E", "F", "G")


def test_names_that_are_read_and_not_called_are_uses() -> None:
    body = """
        y: Cart = self.items + LIMIT
        shop.total += x.a + len(y)
        call(shop.LIMIT, key=other)
        return [z for z in zs]
    """
    assert inside(body, "uses") == ("Cart", "LIMIT", "other", "self.items", "shop.LIMIT",
                                    "shop.total", "zs")  # fmt: skip
    facets = told("class C:\n def m(self, a: 'Cart | None') -> Money:\n  f(self, self.items)")
    assert facets["uses:C.m"] == ("Cart", "Money", "self.items")


def test_lists_and_texts_are_bounded() -> None:
    facets = told("def f():\n" + "".join(f"    call_{n:03}()\n" for n in range(400)))
    assert facets["calls:f"] == tuple(f"call_{n:03}" for n in range(300))
    long = "x" * 501
    facets = told(f"def f(): a.{long}()\ndef {long}(): ...\n{long} = 1\n'doc'")
    assert facets["calls:f"] == (f"a.{long}"[:500],)
    assert sorted(facets) == ["body:f", "calls:f", "name:f", "sig:f"]


def test_a_body_counts_the_versions_that_changed_it() -> None:
    first = python.outline("a.py", b"def f(): a()\ndef g(): b()\n")
    second = python.outline("a.py", b"# moved\ndef f(): a()\ndef g(): c()\n", first)
    third = python.outline("a.py", b"def g(): d()\n", second)
    assert [outline.facets["body:f"][1] for outline in (first, second)] == ["1", "1"]
    assert [outline.facets["body:g"][1] for outline in (first, second, third)] == ["1", "2", "3"]
    assert changed(first.facets, second.facets) == ["body:g", "calls:g"]
    assert "body:f" not in third.facets


def test_a_body_changes_with_what_its_names_mean() -> None:
    before = python.outline("a.py", b"def f(): open()\ndef g(): pass\n")
    after = python.outline("a.py", b"def f(): open()\ndef g(): pass\nfrom x import open", before)
    assert changed(before.facets, after.facets) == [
        "body:f", "calls:f", "effects:f", "imports", "name:open",
    ]  # fmt: skip
    moved = python.outline("tests/a.py", b"def test_f(): open()\n")
    back = python.outline("a.py", b"def test_f(): open()\n", moved)
    assert back.facets["sig:test_f"] == ("function", "()")


@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
def test_line_ends_make_no_difference(ends: bytes) -> None:
    source = b"'''Doc\n\nmore'''\nclass C:\n    '''x\n    y'''\n    def m(self): a()\n\n    x = 1\n"
    assert python.outline("a.py", source.replace(b"\n", ends)) == python.outline("a.py", source)


def test_bytes_are_read_by_their_cookie_and_mark() -> None:
    latin = "# -*- coding: latin-1 -*-\ndef f(): 'größe'".encode("latin-1")
    marked = "def f(): 'größe'".encode("utf-8-sig")
    assert [python.outline("a.py", one).facets["doc:f"] for one in (latin, marked)] == [
        ("größe",)
    ] * 2


GOOD = python.outline("a.py", b"import os\ndef f(): a()\n")


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        (b"x = 1\ndef f(:\n", "2", "invalid syntax"),
        (b"x = (\n", "1", "'(' was never closed"),
        (b"x = 1\0", None, "null bytes"),
        (b"x = 1\n\ny = '\xff'\n", "3", "not utf-8"),
        (b"\xff = 1\n", "", "encoding"),
        (b"# coding: none-such\n", "", "none-such"),
        (b"# coding: hex\n", "", "hex"),
        (b"# coding: punycode\nx = 1\n", None, "punycode"),
        (b"# coding: undefined\n", "", "undefined"),
        (b"#" * 10_000_000, "", "found 10,000,000"),
        (b"x = " + b"(" * 5000, "1", "parentheses"),
        ("".join(f"{' ' * n}if x:\n" for n in range(900)).encode(), "101", "indentation"),
        pytest.param(
            b"x = " + b"-" * 3000 + b"1",
            "",
            "too deep nesting",
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer parsers read it"),
        ),
    ],
)
def test_what_does_not_parse_keeps_the_last_good_outline(
    source: bytes, line: str | None, message: str
) -> None:
    broken = python.outline("a.py", source, GOOD)
    assert {key for key in broken.facets if key != "error"} == set(GOOD.facets)
    assert not set(changed(GOOD.facets, broken.facets)) - {"error"}
    assert broken.lines == GOOD.lines
    assert line in (None, broken.facets["error"][0])
    assert message in broken.facets["error"][1]
    assert list(python.outline("a.py", source).facets) == ["error"]
    assert python.outline("a.py", b"import os\ndef f(): a()\n", broken) == GOOD


DEEP = {
    "blocks": "".join(f"{' ' * n}if a{n}():\n" for n in range(95)) + " " * 95 + "end()",
    "branches": "if x: pass\n" + "".join(f"elif x{n}: y = z{n}()\n" for n in range(900)),
    "sum": "y = " + " + ".join(f"a{n}()" for n in range(900)),
    "chain": "y = a" + ".b()" * 900,
    "dots": "y = a" + ".b" * 900,
    "minus": "y = " + "-" * 700 + "a()",
    "lambdas": "y = " + "lambda: " * 500 + "a()",
    "comprehensions": "y = " + "[a() for b in " * 90 + "c()" + "]" * 90,
}


@pytest.mark.parametrize("name", sorted(DEEP))
def test_deep_nesting_is_walked_without_recursion(name: str) -> None:
    deep = DEEP[name]
    module = python.outline("a.py", deep.encode()).facets
    body = "".join(f" {line}\n" for line in deep.split("\n"))
    function = python.outline("a.py", f"def f():\n{body}".encode()).facets
    assert "error" not in {**module, **function}
    assert function.get("calls:f") or name == "dots"
    assert name == "blocks" or module["name:y"][0] in ("value", "alias")


@pytest.mark.parametrize("name", ["sum", "chain", "dots", "minus", "lambdas"])
def test_deep_expressions_are_cut_where_they_are_shown(name: str) -> None:
    deep = DEEP[name].removeprefix("y = ")
    facets = told(f"@({deep})\ndef f(x={deep}, y: ({deep}) = 1): ...\nclass C({deep}): ...")
    assert facets["sig:f"][1].startswith("(x=...")
    assert all(len(text) <= 500 for text in facets["decorators:f"] + facets["bases:C"])


def test_warnings_of_the_parser_are_not_ours() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facets = told("x = '\\d'\ny = 1or 1\nassert (1, 'x')\nz = 1 is 1")
    assert "error" not in facets
    assert not caught


def test_outlines_are_the_same_under_any_hash_seed() -> None:
    folder = Path(__file__).parents[1]
    program = (
        "from pathlib import Path; from backcast.engine.memory.outliner import python;"
        " source = Path('engine/memory/outliner/python.py').read_bytes();"
        " first = python.outline('a.py', source);"
        " print(first, python.outline('a.py', source[:900], first))"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env={"PYTHONHASHSEED": seed},
            capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(shown) == 1
    assert b"calls:outline" in shown.pop()


def test_a_long_chain_of_definitions_of_one_name_takes_no_longer_than_its_length() -> None:
    facets = told("@overload\ndef f(x): a()\n" * 5_000)
    assert facets["calls:f"] == ("a",)


pieces = st.sampled_from(
    [
        "def f(x):\n    return x.a() + b(LIMIT)",
        "def f(x, y=1):\n    import os, pkg.sub\n    raise Gone(os.environ['A'])",
        "@overload\ndef f(x: int): ...",
        "async def g(open=None):\n    open()\n    print(len)",
        "class C(Base):\n    x: Cart = 1\n    def m(self):\n        self.y = Cart(); open()",
        "class C(Base):\n    x: Cart = 1\n    def m(self):\n        self.z = Cart()",
        "class C:\n    @property\n    def p(self): return self.q\n    @p.setter\n"
        "    def p(self, v):\n        from .deep import thing\n        thing(v)",
        "class C:\n    class D:\n        def f(self): global n; n = run()",
        "def test_one():\n    f()",
        "if x:\n    def f(): one()\nelse:\n    def f(): two()",
        "from io import open",
        "from subprocess import run",
        "import fast as os",
        "def open(): ...",
        "LIMIT = 3",
        "__all__ = ['f']",
        "'doc'",
        "def f(:",
    ]
)
modules = st.lists(pieces, max_size=6).map("\n".join)
paths = st.sampled_from(["a.py", "tests/a.py"])


@given(paths, st.lists(st.tuples(paths, modules), max_size=4), modules)
def test_an_outline_after_others_is_the_outline_made_alone(
    path: str, history: list[tuple[str, str]], text: str
) -> None:
    before = None
    for old_path, old in history:
        before = python.outline(old_path, old.encode(), before)
    after = python.outline(path, text.encode(), before)
    alone = python.outline(path, text.encode())
    if "error" not in alone.facets:
        assert without_counts(after) == without_counts(alone)
        assert after.lines == alone.lines
    elif before is not None:
        assert changed(before.facets, after.facets) in ([], ["error"])


@given(st.lists(modules, min_size=1, max_size=5))
def test_counts_grow_by_one_with_every_version_that_changes_a_body(texts: list[str]) -> None:
    before, counts = None, dict[str, tuple[str, int]]()
    for text in texts:
        outline = python.outline("a.py", text.encode(), before)
        found = {key: facet for key, facet in outline.facets.items() if key.startswith("body:")}
        for key, (digest, count) in found.items():
            last, n = counts.get(key, ("", 0))
            counts[key] = (digest, n + (digest != last))
            assert int(count) == counts[key][1]
        counts = {key: counts[key] for key in found}
        before = outline


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_have_an_outline(source: bytes) -> None:
    for path in ("a.py", "a.md"):
        outliner = outliner_of(path)
        assert outliner is not None
        first = outliner.outline(path, source)
        again = outliner.outline(path, source, first)
        assert without_counts(again) == without_counts(first)
        for text in (text for facet in again.facets.values() for text in facet):
            text.encode()


TOKENS = """
    def class if else : ( ) [ ] x y = , . lambda import from * @ 'a' 1 := for in await with as try
    except raise return global del match case _ { } -> ... f'{x}'
"""
tokens = st.sampled_from([*TOKENS.split(), "\n", "\n "])


@given(st.lists(tokens, max_size=30).map(" ".join))
def test_anything_that_looks_like_python_has_an_outline(text: str) -> None:
    outline = python.outline("a.py", text.encode(), GOOD)
    assert ("error" in outline.facets) == (not _parses(text))


def _parses(text: str) -> bool:
    try:
        compile(text, "a.py", "exec", flags=0x400, dont_inherit=True)  # the tree alone
    except SyntaxError:
        return False
    return True


@given(st.dictionaries(st.sampled_from(sorted(GOOD.facets)), st.lists(st.text()).map(tuple)))
def test_any_facets_can_come_before(facets: dict[str, Facet]) -> None:
    after = python.outline("a.py", b"import os\ndef f(): a()\n", Outline(facets, {}))
    assert set(after.facets) >= set(GOOD.facets) - {"calls:f", "sig:f"}
    assert int(after.facets["body:f"][1]) > 0


def document(text: str) -> dict[str, Facet]:
    return dict(markdown.outline("README.md", dedent(text).lstrip("\n").encode()).facets)


def test_headings_and_the_first_paragraph_of_a_document_are_told() -> None:
    assert document("""
        ---
        title: settings
        ---
        [![badge](x.svg)](y)

        # The `shop` #

        - a list
          of things

        > quoted

        Sells **many** [things](http://example.org/a_b) by
        the snake_case _pound_. \\*Really\\*.

        Second paragraph.

        Under
        lined
        -----
        ```sh
        # no heading
        ```
        ~~~
        ```
        # none either
        ~~~

            # code

        ### C#
        #5 is no heading
        ####### nor this
        ***
    """) == {
        "heading": ("The shop", "Under lined", "C#"),
        "doc": ("Sells many things by the snake_case pound. *Really*.",),
    }


def test_windows_lines_and_marks_make_no_difference_to_a_document() -> None:
    text = "\ufeff# One\r\n\r\nprose\r\n\r\nTwo\r\n===\r\n".encode()
    assert dict(markdown.outline("a.md", text).facets) == {
        "heading": ("One", "Two"), "doc": ("prose",)
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "_" * 200_000 + "a", "[a](" * 100_000, "* " * 100_000, "\n" * 200_000,
     "# " * 100_000, "`" * 200_000, "a\n" * 200_000, "- - x\n" * 100_000],
)  # fmt: skip
def test_a_document_is_read_in_time_that_its_length_bounds(text: str) -> None:
    facets = markdown.outline("a.md", text.encode()).facets
    assert all(len(one) <= 500 for facet in facets.values() for one in facet)


def test_a_document_tells_at_most_200_headings_and_is_refused_over_4_mb() -> None:
    many = "".join(f"# {n}\n" for n in range(300))
    assert document(many)["heading"] == tuple(map(str, range(200)))
    good = markdown.outline("a.md", b"# Good")
    large = markdown.outline("a.md", b"#" * 5_000_000, good)
    assert large.facets["heading"] == ("Good",)
    assert "found 5,000,000" in large.facets["error"][1]
