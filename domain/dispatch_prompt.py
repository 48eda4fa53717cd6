"""What an agent is told: first what holds for every task, then the task, then what happened.

Nothing that differs between dispatches stands before the task, so that a server keeps what it has
read of it. The ledger stands for the files and outputs that it was folded from.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.dispatch_results import BEGIN, END
from backcast.domain.ledger import Ledger
from backcast.domain.prompt_sections import DELTA, SURROUNDINGS, PromptSection, pruned

VERSION = 3
"Grows when equal parts would give other sections."

BLOCKS = {
    "implementer": """{
  "task_id": "the number of the task",
  "status": "completed | blocked | failed",
  "summary": "what you did, in a sentence or two",
  "files_changed": ["path of each file that you changed"],
  "tests": [{"command": "what you ran", "passed": true | false, "failures": ["what failed"]}],
  "follow_up_actions": ["what remains to be done"]
}""",
    "reviewer": """{
  "task_id": "the number of the task",
  "assessment": "approved | needs_changes | blocked",
  "strengths": ["what is good"],
  "issues": [{"severity": "critical | important | minor", "file": "path",
              "message": "what is wrong", "fix": "what to do"}],
  "required_fixes": ["what must be changed before it can be approved"]
}""",
}
"The form of each role's result, as its prompt shows it: no result by itself."
RULES = {
    "implementer": """You are the implementer of one task of a project. The folder that you are in \
is a copy of the
project, made for you alone: change the files in it, and nothing outside of it.

Rules:
- Do what the task asks, and nothing else.
- The tests of the project must pass. They are run again after you, as they were before you came:
  a test that you delete, skip or weaken counts as failed.
- Say only what is so. What you changed is read from git, and what passes is found by running it.
- If you cannot go on, say so by the status blocked, with the reason in the summary.""",
    "reviewer": """You are the reviewer of one task of a project. The folder that you are in is a \
copy of the project,
in which the implementer's changes are not committed: `git diff HEAD` shows them. Change nothing.

Rules:
- Judge whether the changes do what the task asks, and do no harm.
- Name each fault with its file, and say what to do about it.
- Approve only what needs no further change. You cannot approve what fails its tests.""",
}
"The rules of each role, which stand first and whole in every prompt."
CHANGED = "What the attempt before had changed, which is not in this folder:"
LONGEST_CHANGES = 8_000
"Characters of the changes of the attempt before."
LONGEST_VALUE = 240
"Characters of a value of the delta once it is pruned."
STABLE = ("rules", "contract", "guide", "map")
"The first words of the sections that stand before the task."
LEDGER = "ledger"


class PromptParts(NamedTuple):
    """What a prompt is made of, from what changes least to what changes most."""

    role: str
    task_id: str
    title: str
    details: str = ""
    guides: Sequence[tuple[str, str]] = ()
    "Files of rules that the project has, by path."
    paths: Sequence[str] = ()
    "The files of the repository, sorted."
    ledger: Ledger | None = None
    held: bool = False
    "Whether its answer is held to the schema of a result."
    attempt: int = 1
    of: int = 3
    findings: Sequence[str] = ()
    "What was found of the attempt before, or of the work that is to be reviewed."
    failures: Sequence[str] = ()
    fixes: Sequence[str] = ()
    "What a reviewer requires."
    issues: Sequence[str] = ()
    "Each fault that a reviewer names."
    claim: str = ""
    patch: str = ""
    "What is to be reviewed, or what the attempt before had changed."
    mending: str = ""
    "Why a result could not be read: only that is to be mended."


def sections_of(parts: PromptParts) -> tuple[PromptSection, ...]:
    """Return the sections of a prompt with their levels, in their order."""
    sections = [PromptSection("rules", (RULES[parts.role],)),
                PromptSection("contract", (_contract(parts.role, held=parts.held),))]  # fmt: skip
    sections += [PromptSection(f"guide {path}", (f"# {path}\n\n{text.strip()}",))
                 for path, text in parts.guides]  # fmt: skip
    if parts.paths:
        sections.append(PromptSection("map", map_texts(parts.paths), SURROUNDINGS))
    task = f"# Task {parts.task_id}\n\n{parts.title}\n{parts.details}".rstrip()
    sections.append(PromptSection("task", (task,)))
    if parts.ledger is not None:
        texts = ledger_texts(parts.ledger, parts.task_id)
        sections.append(PromptSection(LEDGER, texts, DELTA))
    sections += _happened(parts)
    return tuple(section for section in sections if section.texts[0])


def stable_end(sections: Sequence[PromptSection]) -> int:
    """Return how many sections stand before all that differs between tasks."""
    return next((place for place, section in enumerate(sections)
                 if section.name.partition(" ")[0] not in STABLE), len(sections))  # fmt: skip


def map_texts(paths: Sequence[str]) -> tuple[str, str, str]:
    """Return a map of a repository: its files by folder, or its folders alone, or nothing.

    >>> print(map_texts(["a.py", "pkg/b.py", "pkg/c.py"])[0])
    # Files of the project
    <BLANKLINE>
    ./: a.py
    pkg/: b.py c.py
    """
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(f"{folder or '.'}/", []).append(name)
    title = "# Files of the project\n\n"
    rows = [f"{folder}: {' '.join(folders[folder])}" for folder in sorted(folders)]
    counts = [f"{folder} {len(folders[folder])} files".replace(" 1 files", " 1 file")
              for folder in sorted(folders)]  # fmt: skip
    return title + "\n".join(rows), title + "\n".join(counts), ""


def ledger_texts(ledger: Ledger, item: str) -> tuple[str, str, str]:
    """Return the ledgers whole, or what they tell of the task alone, or nothing."""
    title, whole = "# Where the work stands\n\n", list(ledger.lines())
    about = [line for line in whole[1:]
             if line.startswith(("Stalled: ", "Next: ")) or line[4:].startswith(f"{item} ")
             or line[4:] == item]  # fmt: skip
    return title + "\n".join(whole), title + "\n".join([whole[0], *about]), ""


def _contract(role: str, *, held: bool) -> str:
    if held:
        return f"""# How to end

Your final answer is one JSON object of this form, with your own values and no other text. Where a
value shows several words, choose one of them.

{BLOCKS[role]}"""
    return f"""# How to end

The last thing that you say is one block of this form, with your own values and no other text in it.
Where a value shows several words, choose one of them.

{BEGIN}
{BLOCKS[role]}
{END}"""


def _happened(parts: PromptParts) -> Iterator[PromptSection]:
    """Yield what happened before: the work to review, or the attempt before."""
    if parts.mending:
        yield PromptSection("attempt", (_mending(parts),))
        if parts.role != "reviewer":
            return
    if parts.role == "reviewer":
        yield PromptSection("attempt", ("# The work",))
        claim = f"The implementer says: {parts.claim}" if parts.claim else ""
        yield _lowering("claim", [claim] if claim else [])
    elif parts.attempt > 1:
        yield PromptSection("attempt", (_retry(parts),))
    for name, title, values in (("required fixes", "Must be fixed:", parts.fixes),
                                ("issues", "The reviewer found:", parts.issues)):  # fmt: skip
        if values:
            lines = [f"- {' '.join(value.split())}" for value in values]
            yield PromptSection(name, ("\n".join([title, *lines]),))
    found = [f"- {' '.join(value.split())}" for value in parts.findings if value.strip()]
    yield _lowering("findings", found, "Found:")
    yield _lowering("failures", [f"- {text}" for text in parts.failures], "Failing tests:")
    names = " ".join(line.split(" b/", 1)[-1] for line in parts.patch.splitlines()
                     if line.startswith("diff --git "))  # fmt: skip
    if parts.role == "reviewer":
        whole = f"```diff\n{parts.patch.rstrip()}\n```"
        about = f"Changed, see `git diff HEAD`: {names}"
        yield PromptSection("patch", (whole, about, "The changes: `git diff HEAD`."), DELTA)
    elif (
        parts.patch.strip() and parts.attempt > 1
    ):  # it stands last, and so is the first to be lowered
        diff = pruned(parts.patch.rstrip(), LONGEST_CHANGES)
        whole = f"{CHANGED}\n```diff\n{diff}\n```"
        yield PromptSection("changes", (whole, f"{CHANGED} {names}".rstrip(), ""), DELTA)


def _lowering(name: str, values: Sequence[str], title: str = "") -> PromptSection:
    """Return a section of values: whole, or pruned, or of each its first words."""
    if not values:
        return PromptSection(name, ("",), DELTA)
    first = [pruned(value.split("\n", 1)[0], LONGEST_VALUE // 3) for value in values]
    levels = (values, [pruned(value, LONGEST_VALUE) for value in values], first)
    texts = tuple("\n".join([title, *level] if title else level) for level in levels)
    return PromptSection(name, texts, DELTA)


def _retry(parts: PromptParts) -> str:
    lines = [f"# Attempt {parts.attempt} of {parts.of}", ""]
    if parts.attempt == 2:
        lines += [
            "The attempt before was not accepted. Its changes are gone: the folder is as it was at",
            "the start. Look at what was found, and do the task so that it holds.",
        ]
    else:
        lines += [
            "Two attempts or more were not accepted, and their changes are gone. Try another",
            "approach than before.",
        ]
    return "\n".join(lines)


def _mending(parts: PromptParts) -> str:
    return (
        "# Your result could not be read\n\n"
        f"Your changes are in this folder, as you left them. {parts.mending}.\n"
        "Change nothing more: say only the block, with what you did."
    )
