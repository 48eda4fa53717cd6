"""What an agent is told: first what holds for every task, then the task, then what happened.

Nothing that differs between dispatches stands before the task, so that a server keeps what it has
read of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.dispatch_results import BEGIN, END

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
LONGEST_PATCH = 40_000
"Characters of a patch that a reviewer's prompt shows; the whole lies in the folder."
SHOWN_FAILURES = 8
LONGEST_FAILURE = 800


class PromptParts(NamedTuple):
    """What a prompt is made of, from what changes least to what changes most."""

    role: str
    task_id: str
    title: str
    details: str = ""
    guides: Sequence[tuple[str, str]] = ()
    "Files of rules that the project has, by path."
    attempt: int = 1
    of: int = 3
    findings: Sequence[str] = ()
    "What was found of the attempt before, or of the work that is to be reviewed."
    failures: Sequence[str] = ()
    fixes: Sequence[str] = ()
    "What a reviewer requires."
    claim: str = ""
    patch: str = ""
    mending: str = ""
    "Why a result could not be read: only that is to be mended."


def prompt_text(parts: PromptParts) -> str:
    """Return the prompt of a dispatch."""
    sections = [RULES[parts.role], _contract(parts.role)]
    sections += [f"# {path}\n\n{text.strip()}" for path, text in parts.guides]
    sections.append(f"# Task {parts.task_id}\n\n{parts.title}\n{parts.details}".rstrip())
    if parts.role == "reviewer":
        sections.append(_work(parts))
    elif parts.mending:
        sections.append(_mending(parts))
    elif parts.attempt > 1:
        sections.append(_retry(parts))
    return "\n\n".join(section for section in sections if section) + "\n"


def _contract(role: str) -> str:
    return f"""# How to end

The last thing that you say is one block of this form, with your own values and no other text in it.
Where a value shows several words, choose one of them.

{BEGIN}
{BLOCKS[role]}
{END}"""


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
    return "\n".join([*lines, *_found(parts)])


def _work(parts: PromptParts) -> str:
    lines = ["# The work", ""]
    if parts.claim:
        lines += [f"The implementer says: {parts.claim}"]
    lines += _found(parts)
    patch = parts.patch
    if len(patch) > LONGEST_PATCH:
        lines += ["", f"The changes are {len(patch):,} characters long: see `git diff HEAD`."]
    else:
        lines += ["", "```diff", patch.rstrip(), "```"]
    return "\n".join(lines)


def _mending(parts: PromptParts) -> str:
    return (
        "# Your result could not be read\n\n"
        f"Your changes are in this folder, as you left them. {parts.mending}.\n"
        "Change nothing more: say only the block, with what you did."
    )


def _found(parts: PromptParts) -> list[str]:
    lines = []
    for name, values in (("Found", parts.findings), ("Must be fixed", parts.fixes)):
        if values:
            lines += ["", f"{name}:", *(f"- {' '.join(value.split())}" for value in values)]
    if parts.failures:
        shown = parts.failures[:SHOWN_FAILURES]
        lines += ["", "Failing tests:"]
        lines += [f"- {text[:LONGEST_FAILURE]}" for text in shown]
        if len(parts.failures) > len(shown):
            lines.append(f"- and {len(parts.failures) - len(shown)} more")
    return lines
