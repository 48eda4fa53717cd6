"""An agent as strong as its first word says: what is harder it does wrongly, and says it is done.

It answers in JSON, and says that it used as many tokens as its second word. It imports nothing of
ours.
"""

import json
import re
import sys
from pathlib import Path

BEGIN, END = "BEGIN_DISPATCH_RESULT", "END_DISPATCH_RESULT"


def main() -> None:
    """Be the agent."""
    strength, tokens = float(sys.argv[1]), int(sys.argv[2])
    found = re.search(r"(\w+)\.py must return (\d+), difficulty ([\d.]+)", TITLE)
    if found is None:
        raise SystemExit("no task that this agent knows")
    name, value, difficulty = found[1], int(found[2]), float(found[3])
    learned = 0.1 if "# Attempt" in PROMPT else 0.0
    result = value if strength + learned >= difficulty else value + 1
    [file] = Path().rglob(f"{name}.py")
    file.write_text(re.sub(r"return \S+", f"return {result}", file.read_text()))
    claim = {"task_id": TASK, "status": "completed", "summary": f"{name} returns {value}",
             "files_changed": [str(file)], "tests": []}  # fmt: skip
    text = f"{BEGIN}\n{json.dumps(claim)}\n{END}\n"
    print(json.dumps({"result": text, "usage": {"prompt": tokens, "answer": tokens // 10}}))


if __name__ == "__main__":
    PROMPT = sys.stdin.read()
    TASK = (re.search(r"^# Task (\S+)", PROMPT, re.MULTILINE) or ["", ""])[1]
    _, TITLE = PROMPT.split(f"# Task {TASK}\n", 1)
    main()
