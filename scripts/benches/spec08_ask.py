"""Questions whose answer is one line of one file, asked of a small model through `backcast ask`,
beside the same model with one prompt of the bodies that BM25 ranks first.

The questions are made by a rule from a real repository: which module defines a name that only one
does, and what a parameter defaults to. An answer is right where it holds the file's own name, or
the default as it is written.
"""

import ast
import json
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from backcast.domain.moment import NOW
from backcast.domain.node import path_of
from backcast.domain.question_events import AskedSubject
from backcast.domain.spending import Allowance
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run as import_log
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Limits, Message
from backcast.engine.models.server import ServerModel
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.limits import limits_for
from backcast.engine.workflow.ask.subject import Subject
from backcast.engine.workflow.ask.task import start
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.projections import dependency_graph, fold, questions, spending
from backcast.projections.questions import FIRST
from scripts.benches.context_bm25 import ranked
from scripts.benches.context_pack import Piece
from scripts.benches.figures import Bench, Figure

COUNT = 20
BUDGET = Allowance(calls=8, tokens=16_000)
SHOWN = LOOK = 400
"Tokens of bodies in the control's one prompt, and of what `ask` shows at the beginning."
ANSWER, ACTIONS = 64, 4
"Tokens of an answer, of ours and of the control; actions of a question that may take several."
GROUP = "20 questions whose answer is one line of one file"
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 300}},
    "required": ["text"],
    "additionalProperties": False,
}
SYSTEM = "Answer the question about the code below in one short sentence, as JSON with one text."


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--model", dest="asked", metavar="MODEL", help="llama:FILE, or a URL")
    parser.add_argument(
        "--further", type=int, default=0, help="questions that may take several actions too"
    )
    parser.add_argument("--count", type=int, default=COUNT, help="questions")
    parser.add_argument("--log", type=Path, help="a store that holds the repository already")


class LineQuestion(NamedTuple):
    """A question, and what a right answer holds."""

    text: str
    right: str
    path: str
    kind: str


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    options = bench.options
    if not options.asked:
        why = "needed --model, as llama:FILE or the URL of a llama-server"
        return [Figure(GROUP, "answered", unit="%", why=why)]
    with _opened(bench) as store:
        [task] = [name for name in store.tasks() if not name.startswith("ask")][:1]
        return list(_measured(bench, store, task))


def _opened(bench: Bench) -> EventStore:
    if bench.options.log:
        return EventStore.open(f"sqlite:///{bench.options.log}")
    store = EventStore.open(f"sqlite:///{bench.folder}/asked.db")
    import_log(store, "git", bench.repositories[0])
    for task in store.tasks():
        Outlining(store, task).catch_up()
    return store


def _measured(bench: Bench, store: EventStore, task: str) -> Iterator[Figure]:
    runtime = open_runtime(bench.options.asked)
    if isinstance(runtime.model, ServerModel):
        runtime = runtime._replace(
            model=ServerModel(bench.options.asked, sampling={"temperature": 0})
        )
    runtime = runtime._replace(budget=BUDGET, concurrency=2)
    view = Subject(store, task, NOW, runtime.profile, tokenizer_of(runtime.profile.tokenizer))
    asked = questions_of(view)[: bench.options.count]
    pieces = list(_pieces(view))
    rows = list[dict[str, object]]()
    for number, question in enumerate(asked):
        row = _asked(runtime, view, question, 1)
        if number < bench.options.further:
            row["further"] = _asked(runtime, view, question, ACTIONS)
        control, tokens = _control(runtime, view, pieces, question.text)
        row |= {
            "control": control, "control right": is_right(control, question),
            "control tokens": tokens,
        }  # fmt: skip
        bench.say(json.dumps(row, ensure_ascii=False))
        rows.append(row)
    (bench.folder / "answers.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    for kind in ("defines", "defaults", ""):
        mine = [row for row in rows if kind in ("", row["kind"])]
        if mine:
            ours, theirs = (_share(mine, key) for key in ("right", "control right"))
            yield Figure(
                GROUP, f"answered right{f', {kind}' if kind else ''}", [ours], "%",
                f"{sum(bool(row['right']) for row in mine)} of {len(mine)}",
                f"one prompt of BM25 bodies, {theirs:.0f} %", details={"rows": mine},
            )  # fmt: skip
    further = list[dict[str, object]]()
    for row in rows:
        if isinstance(several := row.get("further"), dict):
            further.append(several)
    if further:
        mine = rows[: len(further)]
        yield Figure(
            GROUP, f"answered right, with up to {ACTIONS} actions", [_share(further, "right")],
            "%", f"of {len(further)}", f"at once {_share(mine, 'right'):.0f} %, one prompt of"
            f" BM25 bodies {_share(mine, 'control right'):.0f} %",
        )  # fmt: skip
    spent = [int(str(row["tokens"])) for row in rows]
    beside = [int(str(row["control tokens"])) for row in rows]
    yield Figure(
        GROUP, "tokens of a question", spent, "tokens", "", f"{sum(beside) / len(rows):.0f}"
    )
    yield Figure(GROUP, "with a proven quote of the right file", [_share(rows, "proven")], "%")
    yield Figure(GROUP, "with an answer at all", [_share(rows, "answer")], "%")


def _share(rows: Sequence[dict[str, object]], key: str) -> float:
    return 100 * sum(bool(row[key]) for row in rows) / len(rows)


def _asked(
    runtime: Runtime, view: Subject, question: LineQuestion, actions: int
) -> dict[str, object]:
    with EventStore.open("sqlite://") as log:
        limits = limits_for(runtime.profile, 1)._replace(
            iterations=actions, result=400, answer=ANSWER, look=LOOK
        )
        start(log, "ask", question.text, AskedSubject(task=view.task), limits)
        state = Asking(log, "ask", runtime, lambda name: view).work()
        cost: spending.State = fold(spending, log.read("ask"))
    found = state.questions[FIRST].answer or questions.FoundAnswer()
    taken = [turn.tool for turn in state.questions[FIRST].turns[1:]]
    return {
        "question": question.text, "kind": question.kind, "expected": question.right,
        "answer": found.text, "right": is_right(found.text, question), "reason": found.reason,
        "proven": any(path_of(quote.node) == question.path for quote in found.shown),
        "quotes": [quote._asdict() for quote in found.quotes], "actions": taken,
        "tokens": cost.spent.tokens, "calls": cost.spent.calls,
        "questions": len(state.questions),
    }  # fmt: skip


def _control(
    runtime: Runtime, view: Subject, pieces: Sequence[Piece], text: str
) -> tuple[str, int]:
    """Return the answer to one prompt of bodies, and the tokens that it took."""
    shown, room = list[str](), SHOWN
    for piece in ranked(pieces, text):
        body = f"## {piece.path}\n{piece.text}"
        size = view.counter.count(body)
        if size <= room:
            shown.append(body)
            room -= size
        if room < SHOWN // 20:
            break
    asked = [Message("system", SYSTEM), Message("user", "\n\n".join([*shown, f"Question: {text}"]))]
    found = runtime.model.complete(asked, Limits(ANSWER), schema=SCHEMA)
    try:
        answer = str(json.loads(found.text)["text"])
    except (ValueError, KeyError, TypeError):
        answer = found.text
    return answer, (found.prompt_tokens or 0) + (found.tokens or 0)


def is_right(answer: str, question: LineQuestion) -> bool:
    """Return whether an answer holds what a right one holds, as a word; of a module its name as
    that of a file or of a part of a package.

    >>> asked = LineQuestion("?", "_auth", "httpx/_auth.py", "defines")
    >>> is_right("httpx/_auth.py does.", asked), is_right("In httpx._auth", asked)
    (True, True)
    >>> is_right("the _auth flow", asked), is_right("_auth", asked)
    (False, True)
    """
    right = re.escape(question.right)
    if question.kind == "defaults":
        return bool(re.search(rf"(?<![\w.]){right}(?![\w])", answer))
    found = re.search(rf"(?<!\w){right}\.py(?!\w)|\w\.{right}(?!\w)", answer)
    return bool(found) or answer.strip(" .`'\"") == question.right


def questions_of(view: Subject) -> list[LineQuestion]:
    """Return questions of both kinds in turns, in an order that only their words decide."""
    defines, defaults = list[LineQuestion](), list[LineQuestion]()
    where: dict[str, list[str]] = {}
    for path in _code(view):
        for name in dependency_graph.lines_of(view.state, path):
            if "." not in name and len(name) > 5:
                where.setdefault(name, []).append(path)
        defaults += _defaults(path, view.text(path))
    for name, paths in where.items():
        stem = paths[0].rpartition("/")[2].removesuffix(".py")
        if len(paths) == 1 and stem != "__init__":
            defines.append(LineQuestion(f"Which module defines {name}?", stem, paths[0], "defines"))
    known: dict[str, int] = {}
    for asked in defaults:
        known[asked.text] = known.get(asked.text, 0) + 1
    unique = [asked for asked in defaults if known[asked.text] == 1]
    kinds = [sorted(some, key=_order) for some in (defines, unique)]
    return [asked for turn in zip_longest(*kinds) for asked in turn if asked]


def _order(asked: LineQuestion) -> str:
    return sha256(asked.text.encode()).hexdigest()


def _code(view: Subject) -> list[str]:
    skipped = ("test", "doc", "example", "script", "setup", "conftest")
    return [
        path
        for path in view.paths
        if path.endswith(".py") and not any(part in path for part in skipped)
    ]


def _defaults(path: str, text: str) -> Iterator[LineQuestion]:
    """Yield a question for each parameter with a default of at least two letters."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            named = node.args.args[len(node.args.args) - len(node.args.defaults) :]
            for parameter, default in zip(named, node.args.defaults, strict=True):
                if isinstance(default, ast.Constant) and type(default.value) in (int, str):
                    value = str(default.value)
                    if len(value) > 1 and value.isascii() and " " not in value:
                        what = f"What does the parameter {parameter.arg} of {node.name} default to?"
                        yield LineQuestion(what, value, path, "defaults")


def _pieces(view: Subject) -> Iterator[Piece]:
    for path in _code(view):
        lines = view.text(path).splitlines()
        for name, (first, last) in dependency_graph.lines_of(view.state, path).items():
            yield Piece(path, name, "\n".join(lines[first - 1 : last]))
