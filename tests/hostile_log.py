"""A log in which every text tries to be more than a text."""

from pathlib import Path

from backcast.domain.context_events import ContextBuilt, ContextItem, ContextOmission
from backcast.domain.dispatch_events import (
    AgentPrinted,
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ResultClaimed,
)
from backcast.domain.events import (
    AnswerRefused,
    CheckFailure,
    ChecksRan,
    Claim,
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    StepStarted,
    TaskStarted,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.memory_events import MapEdit, MapEdited, SummaryWritten
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore

SCRIPT = "<script>window.hit = 1</script>"
IMAGE = "<img src=x onerror='window.hit = 2'><svg onload=window.hit=3>"
QUOTED = '" onmouseover="window.hit = 4" autofocus onfocus="window.hit = 5" x="\' x=\''
LINK = "<a href='javascript:window.hit = 6'>javascript:window.hit = 7</a>"
FETCH = "<link rel=stylesheet href=https://example.org/x.css><iframe src=//example.org></iframe>"
CLOSERS = "</pre></td></template></style></textarea></title><!-- --!> ]]> <r 0> <r 99999>"
UNSEEN = (
    "\x1b[31mred\x1b[0m \x1b]8;;https://example.org\x07x \u202egnp.exe \u2066\u200b\x00\x85 \ud800"
)
ALL = " ".join((SCRIPT, IMAGE, QUOTED, LINK, FETCH, CLOSERS, UNSEEN))
WELL = ALL.replace("\ud800", "")
TASK = f"evil {SCRIPT}"[:60]
AGENTS = ("messages", "dispatch")
"Runs of agents, for which the page has panels of their own."
LINE = 10_000_000
"Letters of one line."


def write(path: Path) -> str:
    """Write the log into a store, and return the name of its task."""
    bodies = {
        "text": Blob(ALL.encode(errors="surrogatepass")), "source": Blob(f"# {WELL}\n".encode()),
        "long": Blob((f"{SCRIPT}" + "x" * LINE).encode()), "bytes": Blob(b"\xff\xfe<script>\x00"),
    }  # fmt: skip
    ref = {name: blob.ref for name, blob in bodies.items()}
    items = (
        ContextItem(node=f"function:a.py::{QUOTED}", section=IMAGE, level=SCRIPT, text=ref["text"],
                    tokens=9),
        ContextItem(node=f"module:{IMAGE}", section="recent errors", level="full",
                    text=ref["long"], tokens=2_000_000),
    )  # fmt: skip
    omissions = (ContextOmission(node=f"x{WELL}", section=SCRIPT, reason=IMAGE),)
    facts: list[Fact] = [
        TaskStarted(goal=WELL),
        StepStarted(kind="code", module_name=f"{IMAGE}.py", iteration=1),
        ContextBuilt(items=items, omissions=omissions, tokens=2_000_009, target=f"module:{QUOTED}",
                     sections={SCRIPT: 9, "recent errors": 2_000_000}, tokenizer=SCRIPT),
        ModelReplied(text=ref["text"], thinking=ref["long"], model=SCRIPT),
        ModuleIteration(module_name=f"{IMAGE}.py", iteration=1, source=ref["source"]),
        ChecksRan(passed=0, failed=1, module_name=QUOTED, output=ref["long"], failures=(
            CheckFailure(name=SCRIPT, message=WELL, at=f"{IMAGE}.py:3", kind="failure"),)),
        StepStarted(kind=SCRIPT, module_name=LINK, iteration=1),
        ModelReplied(text=ref["bytes"], model=LINK),
        AnswerRefused(reason=WELL),
        ToolCalled(tool=SCRIPT, arguments={IMAGE: WELL}),
        ToolReturned(tool=SCRIPT, output=ref["long"], failed=True, message=WELL),
        MessageReceived(role=SCRIPT, text=ref["text"]),
        SummaryWritten(node=f"module:{IMAGE}", text=WELL, tokens=3, summariser=f"{SCRIPT} 1"),
        MapEdited(context=TASK, run=SCRIPT, edits=(
            MapEdit(operation="ADD", item="cr-00001", section="CONTEXT ROADMAP", text=IMAGE),)),
    ]  # fmt: skip
    with EventStore.open(f"sqlite:///{path}") as store:
        claims = [Claim(fact, None, "loop", ()) for fact in facts]
        store.append(TASK, claims, after=0, blobs=list(bodies.values()))
    return TASK


def write_agents(path: Path) -> None:
    """Write two more runs: an imported agent's, and one of dispatched agents."""
    text, long = Blob(WELL.encode()), Blob(f"# {SCRIPT}\n{WELL}\n".encode() * 40)
    claim = {"status": SCRIPT, "files_changed": [IMAGE], "summary": WELL, "required_fixes": [LINK],
             "tests": [{"command": QUOTED, "passed": True}]}  # fmt: skip
    runs: dict[str, list[Fact]] = {
        "messages": [
            MessageReceived(role=IMAGE, text=long.ref),
            ModelReplied(text=text.ref, thinking=text.ref, model=SCRIPT),
            ToolCalled(tool=SCRIPT, arguments={IMAGE: WELL}, call_id=QUOTED),
            ToolReturned(tool=SCRIPT, output=long.ref, call_id=QUOTED),
            ModelReplied(text=text.ref, model=LINK),
        ],
        "dispatch": [
            DispatchStarted(item=SCRIPT, role=IMAGE, agent=LINK, title=WELL, prompt=long.ref),
            AgentPrinted(dispatch=1, stream=IMAGE, text=text.ref),
            DispatchEnded(dispatch=1, outcome=SCRIPT, reason=WELL, answer=text.ref, patch=long.ref),
            ResultClaimed(dispatch=1, role=SCRIPT, result=claim, error=IMAGE, message=WELL),
            ClaimChecked(dispatch=1, differences=(WELL,), reason=IMAGE, accepted=False, passed=1,
                         tests=(LINK,), output=text.ref, failures=(
                CheckFailure(name=SCRIPT, message=WELL, at=f"{IMAGE}.py:3", kind="failure"),)),
        ],
    }  # fmt: skip
    with EventStore.open(f"sqlite:///{path}") as store:
        for task, facts in runs.items():
            claims = [Claim(fact, None, "agent", ()) for fact in facts]
            store.append(task, claims, after=0, blobs=[text, long])
