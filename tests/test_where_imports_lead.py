"""Where imports lead: to where Python goes, in repositories of several projects too."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.sources import graph_of

F = "def f(): pass"
USE = "\ndef use(): f()"
TRIED = "try:\n  from b import f\nexcept ImportError:\n  f = None"


def _either(condition: str) -> str:
    return f"import sys\nif {condition}:\n  from b import f\nelse:\n  from c import f{USE}"


def called(sources: dict[str, str]) -> list[str]:
    """What the functions named `use` and the tests call."""
    edges = graph_of(sources).edges
    return [e.target for e in edges if e.kind == "calls" and e.source.endswith(("::use", "::test"))]


@pytest.mark.parametrize(
    ("sources", "path"),
    [
        pytest.param(
            {"a.py": f"from b import f{USE}", "b.py": F, "b/__init__.py": F},
            "b/__init__.py",
            id="a package hides a module of its name",
        ),
        pytest.param(
            {"p/__init__.py": "", "p/a.py": f"from .b import f{USE}", "p/b.py": F,
             "p/b/__init__.py": F},
            "p/b/__init__.py",
            id="also by a relative import",
        ),
        pytest.param(
            {"p/__init__.py": "", "p/q/__init__.py": "", "p/q/r/__init__.py": "",
             "p/q/r/a.py": f"from ...b import f{USE}", "p/b.py": F, "p/q/b.py": F},
            "p/b.py",
            id="three levels up",
        ),
        pytest.param(
            {"backend/app/__init__.py": "", "backend/app/m.py": F,
             "backend/tests/test_m.py": "from app.m import f\ndef test(): f()"},
            "backend/app/m.py",
            id="app beside tests, in a folder",
        ),
        pytest.param(
            {"app/m.py": F, "tests/unit/test_m.py": "from app.m import f\ndef test(): f()"},
            "app/m.py",
            id="app beside tests, at the top, without __init__",
        ),
        pytest.param(
            {"tests/helpers.py": F,
             "tests/unit/test_m.py": "from helpers import f\ndef test(): f()"},
            "tests/helpers.py",
            id="a helper above the test, as pytest puts it on the path",
        ),
        pytest.param(
            {"tests/__init__.py": "", "tests/util.py": F,
             "tests/unit/__init__.py": "",
             "tests/unit/test_m.py": "from tests.util import f\ndef test(): f()"},
            "tests/util.py",
            id="a helper by the path from the top",
        ),
        pytest.param(
            {"packages/core/pyproject.toml": "", "packages/core/src/core/__init__.py": F,
             "packages/web/src/web/__init__.py": f"from core import f{USE}"},
            "packages/core/src/core/__init__.py",
            id="another member of a workspace",
        ),
        pytest.param(
            {"libs/core/setup.py": "", "libs/core/core/__init__.py": F,
             "services/web/web.py": f"from core import f{USE}"},
            "libs/core/core/__init__.py",
            id="another project that is not in src",
        ),
        pytest.param(
            {"packages/a/src/app/__init__.py": F, "packages/b/src/app/__init__.py": F,
             "packages/b/tests/test_m.py": "from app import f\ndef test(): f()"},
            "packages/b/src/app/__init__.py",
            id="its own project first",
        ),
        pytest.param(
            {"packages/a/src/app/__init__.py": F, "packages/b/src/app/__init__.py": F,
             "packages/a/src/app/use.py": f"from app import f{USE}"},
            "packages/a/src/app/__init__.py",
            id="its own package first",
        ),
        pytest.param(
            {"packages/a/src/ns/one/__init__.py": F, "packages/b/src/ns/two/__init__.py": "",
             "packages/b/src/ns/two/use.py": f"import ns.one\nf = ns.one.f{USE}"},
            "packages/a/src/ns/one/__init__.py",
            id="two parts of one namespace",
        ),
        pytest.param(
            {"ns/one.py": F, "use.py": f"from ns import one\nf = one.f{USE}"},
            "ns/one.py",
            id="a folder without __init__",
        ),
        pytest.param(
            {"python/ray/__init__.py": F, "doc.py": f"from ray import f{USE}"},
            "python/ray/__init__.py",
            id="the only package of that name",
        ),
        pytest.param(
            {"p/__init__.py": "from .q import f", "p/q/__init__.py": "from .r import *",
             "p/q/r.py": F, "use.py": f"import p.q as c\nf = c.f{USE}"},
            "p/q/r.py",
            id="through a package that says it again",
        ),
        pytest.param(
            {"b.py": f"__all__ = ['g']\n{F}", "c.py": F,
             "a.py": f"from c import *\nfrom b import *{USE}"},
            "c.py",
            id="what __all__ does not list is not brought",
        ),
        pytest.param(
            {"b.py": f"__all__ = []\n__all__.extend(['f'])\n{F}", "c.py": F,
             "a.py": f"from c import *\nfrom b import *{USE}"},
            "b.py",
            id="the later of two stars",
        ),
        pytest.param(
            {"a.py": f"{F}\ntry:\n  from ._fast import f\nexcept ImportError:\n  pass{USE}"},
            "a.py",
            id="a faster one that is not in the repository",
        ),
        pytest.param(
            {"a.py": f"import fast\n{F}\nif not fast:\n  f = fast{USE}"},
            "a.py",
            id="a branch for an import that failed",
        ),
        pytest.param(
            {"a.py": f"if TYPE_CHECKING:\n  from b import f\nelse:\n  f = None{USE}", "b.py": F},
            "b.py",
            id="what a type checker sees in place of a value",
        ),
        pytest.param(
            {"a.py": _either("TYPE_CHECKING"),
             "b.py": F, "c.py": F},
            "c.py",
            id="what runs in place of what a type checker sees",
        ),
        pytest.param(
            {"a.py": _either("sys.version_info >= (3, 9)"),
             "b.py": F, "c.py": F},
            "b.py",
            id="the branch of this Python",
        ),
        pytest.param(
            {"a.py": _either("sys.platform == 'win32'"),
             "b.py": F, "c.py": F},
            "c.py",
            id="not the branch of another platform",
        ),
        pytest.param(
            {"a.py": f"{TRIED}\nelse:\n  from c import f{USE}",
             "b.py": F, "c.py": F},
            "c.py",
            id="what follows a try that went well",
        ),
        pytest.param(
            {"a.py": f"{F}\nf = wrapped(f){USE}"}, "a.py", id="a function that is wrapped by hand"
        ),
    ],
)  # fmt: skip
def test_a_call_is_followed_where_python_goes(sources: dict[str, str], path: str) -> None:
    assert called(sources) == [f"function:{path}::f"]


@pytest.mark.parametrize(
    ("sources", "library"),
    [
        ({"p/__init__.py": "", "p/time.py": F, "q/a.py": "import time"}, "time"),
        ({"time.py": F, "a.py": "import time"}, "time"),
        ({"tools/yaml.py": F, "p/a.py": "import yaml"}, "yaml"),
        ({"tests/mocks/boto3/__init__.py": F, "p/a.py": "import boto3"}, "boto3"),
        ({"a/requests/__init__.py": F, "b/requests/__init__.py": F, "c/m.py": "import requests"},
         "requests"),
        ({"docker/build.py": F, "p/a.py": "import docker"}, "docker"),
        ({"p/__init__.py": "", "p/redis.py": "import redis"}, "redis"),
        ({"src/queue/__init__.py": F, "tests/a.py": "import queue"}, "queue"),
    ],
)  # fmt: skip
def test_a_library_stays_one_beside_modules_of_its_name(
    sources: dict[str, str], library: str
) -> None:
    graph = graph_of(sources)
    assert list(graph.libraries) == [f"library:{library}"]


def test_a_folder_without_init_is_no_library() -> None:
    sources = {
        "ns/one.py": F,
        "a.py": "from ns import one",
        "b.py": "def g():\n  from ns import one",
    }
    assert graph_of(sources).libraries == {}


def test_the_graph_of_moved_projects_is_the_graph_from_nothing() -> None:
    sources = {"web/a.py": "from core import f\ndef use(): f()", "core/__init__.py": F}
    moves = [
        {"libs/core/src/core/__init__.py": F},
        {"libs/core/src/core/__init__.py": F, "web/core.py": F},
        {"libs/core/pyproject.toml": "", "libs/core/core/__init__.py": F},
        {"web/__init__.py": "", "core.py": F},
        {"docs/core/__init__.py": F},
        {},
    ]
    before = graph_of(sources)
    for move in moves:
        now = {"web/a.py": sources["web/a.py"], **move}
        made, anew = graph_of(now, before), graph_of(now)
        assert made.edges == anew.edges, move
        assert made.unresolved == anew.unresolved, move
        assert made.libraries == anew.libraries, move
        before = made


RUN = {
    "beside": {"b.py": "X = 'module'", "b/__init__.py": "X = 'package'", "a.py": "import b"},
    "folder": {"ns/m.py": "X = 1", "ns2/ns/m.py": "X = 2", "a.py": "import ns.m as b"},
    "late": {"b.py": "try:\n  X = 2\nexcept KeyError:\n  X = 3\nelse:\n  X = 4",
             "a.py": "import b"},
    "star": {"b.py": "from c import *\nfrom d import *", "c.py": "X = 1",
             "d.py": "X = 2\n__all__ = []", "a.py": "import b"},
    "stars": {"b.py": "from d import *\nfrom c import *", "c.py": "X = 1", "d.py": "X = 2",
              "a.py": "import b"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RUN))
def test_what_python_itself_binds_is_what_is_found(name: str, tmp_path: Path) -> None:
    sources = RUN[name]
    for path, source in sources.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    command = [sys.executable, "-c", "from a import b; print(repr(b.X))"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    graph = graph_of({**sources, "use.py": "from a import b\ndef use(): return b.X"})
    [found] = [e.target for e in graph.edges if e.source == "function:use.py::use"]
    path = found.removeprefix("attribute:").partition("::")[0]
    binding = [line for line in dedent(sources[path]).split("\n") if "X = " in line][-1]
    assert binding.partition("X = ")[2] == ran.stdout.strip()
