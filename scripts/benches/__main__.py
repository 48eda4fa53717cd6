"""The one command of all benches: `scripts/bench NAME`, which measures and prints one table."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.console import Console

from backcast.domain.errors import InputError, ModelError, UnavailableError
from scripts.benches.figures import FOLDER, ROOT, Bench, Figure, save, show

Measure = Callable[[Bench], list[Figure]]


class Entry(NamedTuple):
    """A bench of the registry."""

    measures: str
    "What it measures beside which control."
    parts: Mapping[str, str]
    "Modules of `scripts.benches` by part; each has a function `measure`."
    example: str = ""
    "Arguments that show how it is called."
    core: bool = False
    "Whether `scripts/install core` is enough."
    keeps: str = ""
    "The folder below .bench that later runs use again; a fresh one where it is empty."


BENCHES = {
    "log": Entry(
        "appends, replay, moments, storage and imports, beside raw sqlite3, pydantic, git and"
        " ast.parse",
        {
            name: f"log_{name}"
            for name in ("append", "replay", "moments", "storage", "git", "insides")
        },
        "--only append --only replay",
        core=True,
    ),
    "run": Entry(
        "the engine's time in a step of a run, its share beside a model's fastest answer, the"
        " prefix that its prompts share, beside reversed sections, and the share of its map",
        {
            "steps": "run_steps",
            "share": "run_share",
            "prefix": "run_prefix",
            "map": "run_map",
        },
        "--only steps",
    ),
    "record": Entry(
        "the time and memory that the recording proxy adds, beside a direct connection, the bytes"
        " that a growing conversation costs, beside what is new in it, and what is lost when all"
        " goes wrong, beside what clients saw",
        {
            "latency": "record_latency",
            "llama": "record_llama",
            "bodies": "record_bodies",
            "storage": "record_storage",
            "chaos": "record_chaos",
        },
        "--only latency",
    ),
    "view": Entry(
        "the time until the page of a long run is there, and each of its steps, in a Chromium,"
        " beside the same bytes without the page's work; and the size of its file",
        {"page": "view_page"},
        "--full",
        keeps="view",
    ),
    "mcp": Entry(
        "the start of the MCP server, and the first and later answers of its tools as a log grows,"
        " beside the SDK's import and one reading of the log",
        {"tools": "mcp_tools"},
        "--full",
        keeps="mcp",
    ),
    "spec08": Entry(
        "the latency of calls side by side, beside one after the other, and how soon a cancelled"
        " call has ended; what is read of prompts that begin alike; all at once; what is left of"
        " long outputs, beside head and tail of the same size, and how likely it makes what came"
        " next to a model that reads; and what a small model answers by 'ask'",
        {
            "latency": "spec08_latency",
            "prefixes": "spec08_prefixes",
            "ahead": "spec08_ahead",
            "combined": "spec08_combined",
            "compression": "spec08_compression",
            "nats": "spec08_nats",
            "ask": "spec08_ask",
        },
        "--only latency",
        keeps="spec08",
    ),
    "context": Entry(
        "the share of needed code that a context shows, and its build time, beside BM25, aider's"
        " map and others",
        {"quality": "context_quality", "asked": "context_asked", "speed": "context_speed"},
        "--only quality ../httpx ../llm",
        keeps="context",
    ),
    "scale": Entry(
        "events, bytes, seconds and memory of one log that grows 4, 16 and 64 times, and where"
        " each line bends",
        {"scale": "scale"},
        "../click ../httpx ../poetry",
    ),
    "map": Entry(
        "the used definitions that a context map shows, beside LFU, PEEK's and aider's maps",
        {"lines": "map"},
        "--full ../rich ../click",
        keeps="histories",
    ),
    "stale": Entry(
        "entries that staleness rules throw away or serve falsely, beside text made anew",
        {"stale": "stale"},
        "../httpx",
    ),
    "search": Entry(
        "a search by meaning and words over the texts of a moment, beside faiss and numpy; and"
        " exact indexes beside those that come near",
        {"search": "search", "index": "search_index"},
        "--only index",
    ),
    "cold": Entry(
        "the first answers of new processes on a store of 100,000 events, beside one where nothing"
        " is kept",
        {"cold": "cold"},
        "--full ../werkzeug ../dask",
        keeps="cold",
    ),
    "regress": Entry(
        "prompts a second under recorded and further policies, beside one policy; `verify`; and"
        " what an engine costs beside a pool of processes",
        {
            "speed": "regress_speed",
            "policies": "regress_policies",
            "verify": "regress_verify",
            "elsewhere": "regress_elsewhere",
        },
        "--only speed ../aiohttp",
        keeps="histories",
    ),
    "reader": Entry(
        "how likely a model with real weights holds what commits wrote, behind our contexts, BM25,"
        " the file and aider's map",
        {"reader": "reader"},
        "--reader gemma-3-270m-q4_k_m.gguf --read 2048:60 ../click ../attrs",
        keeps="reader",
    ),
    "memory": Entry(
        "what earlier tasks left and prompts show of it, plans used again, and what summaries show"
        " within 8K, beside the code before",
        {
            "left": "memory_left",
            "nats": "memory_nats",
            "plans": "memory_plans",
            "summaries": "memory_summaries",
        },
        "--only left ../requests ../tox ../urllib3",
        keeps="memory",
    ),
    "solve": Entry(
        "the tiny tasks that a small model with real weights solves, and what our own words in its"
        " prompts are worth, beside the default policy",
        {"solve": "solve", "form": "solve_form"},
        "--only form",
    ),
    "dispatch": Entry(
        "false claims that complete a task, beside believing them; what is left after kills; the"
        " time beside the agent itself; policies of routing told from a log, beside the same ones"
        " run; the tokens of ledgers, beside those of files; facts with their times, beside git and"
        " ast, and their retrieval, beside BM25 over the raw log; real agents, named by"
        " BACKCAST_AGENTS",
        {
            "claims": "dispatch_claims",
            "kills": "dispatch_kills",
            "overhead": "dispatch_overhead",
            "routing": "dispatch_routing",
            "ledgers": "dispatch_ledgers",
            "facts": "dispatch_facts",
            "agents": "dispatch_agents",
        },
        "--only claims ../click ../boltons",
        core=True,
        keeps="dispatch",
    ),
    "trial": Entry(
        "a model's answers about a code base with maps and other notes, beside no notes",
        {"trial": "trial"},
        "--task rich --model http://127.0.0.1:8080/v1",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench that the arguments name, or list all of them."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "--needs":
        # Asked by scripts/bench before it installs anything.
        entry = BENCHES.get(rest[0]) if rest else None
        print("core" if entry is None or entry.core else "all")
    elif name in ("--help", "-h"):
        print(listing())
    elif name not in BENCHES:
        raise SystemExit(f"bench: needed one of {', '.join(BENCHES)}, found {name!r}")
    else:
        run(name, rest)


def listing() -> str:
    """Return the benches with a line each, and an example."""
    lines = [f"  {name:<8} {entry.measures}" for name, entry in BENCHES.items()]
    usage = "usage: scripts/bench NAME [--full] [--json FILE] [--only PART] [REPOSITORY...]"
    return "\n".join([usage, "", *lines, "", "for instance: scripts/bench log --only append"])


def run(name: str, arguments: Sequence[str]) -> None:
    """Measure the parts of a bench that the arguments ask for, and print one table."""
    entry = BENCHES[name]
    modules = {part: import_module(f"scripts.benches.{file}") for part, file in entry.parts.items()}
    options = _options(name, entry, [getattr(one, "add_options", None) for one in modules.values()])
    asked = options.parse_args(arguments)
    figures: list[Figure] = []
    try:
        if asked.json and not asked.json.parent.is_dir():
            raise InputError(f"{asked.json}: needed a folder that is there")
        with _folder(name, entry) as folder:
            bench = Bench(folder, asked.full, [one.resolve() for one in asked.repositories], asked)
            try:
                for part in asked.only or entry.parts:
                    measure: Measure = modules[part].measure
                    figures += measure(bench)
            finally:
                console = Console()
                show(figures, console if console.is_terminal else Console(width=190))
                if asked.json:
                    save(figures, asked.json)
    except (InputError, ModelError, UnavailableError, OSError) as error:
        raise SystemExit(f"bench: {error}") from None


@contextmanager
def _folder(name: str, entry: Entry) -> Iterator[Path]:
    """Make the folder that a bench may write to; remove it again unless it is kept."""
    FOLDER.mkdir(exist_ok=True)
    if entry.keeps:
        kept = FOLDER / entry.keeps
        kept.mkdir(exist_ok=True)
        yield kept
    else:
        with TemporaryDirectory(prefix=f"{name}-", dir=FOLDER) as fresh:
            yield Path(fresh)


def _options(
    name: str, entry: Entry, more: Sequence[Callable[[ArgumentParser], None] | None]
) -> ArgumentParser:
    parser = ArgumentParser(
        prog=f"scripts/bench {name}",
        description=f"Measure {entry.measures}.",
        epilog=f"for instance: scripts/bench {name} {entry.example}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPOSITORY")
    add("--full", action="store_true", help="the heavier runs too")
    add("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    add("--only", choices=entry.parts, action="append", metavar="PART",
        help=f"some of {', '.join(entry.parts)}; may be repeated")  # fmt: skip
    for add_options in filter(None, more):
        add_options(parser)
    return parser


if __name__ == "__main__":
    main()
