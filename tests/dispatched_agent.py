"""An agent of the command line as tests need one: what it does, and claims, is its first word.

It is a program of its own, and imports nothing of ours.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BEGIN, END = "BEGIN_DISPATCH_RESULT", "END_DISPATCH_RESULT"
WRONG, RIGHT = "sum(price for", "sum(count * price for"
SKIP = "import pytest\n@pytest.mark.skip\ndef test_total"
PATCH = """import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


def mend() -> None:
    """Do the task."""
    cart = Path("cart.py")
    cart.write_text(cart.read_text().replace(WRONG, RIGHT))


def block(**value: object) -> str:
    """Return a result."""
    return f"{BEGIN}\n{json.dumps(value)}\n{END}\n"


def claim(files: list[str], passed: bool | int = True, status: str = "completed") -> str:
    """Return an implementer's result."""
    tests = [{"command": "pytest", "passed": passed}]
    return block(task_id=TASK, status=status, summary="each thing counts", files_changed=files,
                 tests=tests)  # fmt: skip


def review(assessment: str, *fixes: str) -> str:
    """Return a reviewer's result."""
    issues = [{"severity": "important", "file": "cart.py", "message": fix, "fix": fix}
              for fix in fixes]  # fmt: skip
    return block(task_id=TASK, assessment=assessment, issues=issues, required_fixes=list(fixes))


def replace(path: str, old: str, new: str) -> None:
    """Change a file."""
    file = Path(path)
    file.write_text(file.read_text().replace(old, new))


def ask(times: int) -> None:
    """Ask the model's server, whatever it answers; what it refuses is asked again and again."""
    for _ in range(times):
        try:
            asked = Request(f"{os.environ['SERVER']}/v1/chat/completions", b'{"messages": []}',
                            {"Content-Type": "application/json"})  # fmt: skip
            urlopen(asked).read()
        except HTTPError as error:
            print(error.read().decode(), flush=True)
            time.sleep(60 if error.code == 429 else 0.02)


def act(what: str) -> str:
    """Do something, and return what is said at the end."""
    match what:
        case "good" | "exit" | "silent" | "big" | "daemon" | "outside" | "git" | "twice" | "fenced":
            mend()
        case "links":
            mend()
            os.symlink("/etc/passwd", "names.txt")
            return claim(["cart.py", "names.txt"])
        case "nests":
            mend()
            named = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", "sub"]
            subprocess.run(["git", "init", "-q", "sub"], check=True)
            subprocess.run([*named, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
            return claim(["cart.py", "sub"])
        case "marks":
            Path(f"{TASK}.txt").write_text("done")
            return claim([f"{TASK}.txt"])
        case "notes":
            Path("notes.txt").write_text("x")
        case "skips":
            replace("test_cart.py", "def test_total", SKIP)
        case "deletes":
            Path("test_cart.py").unlink()
        case "weakens":
            replace("test_cart.py", "== 3.5", "> 0")
        case "patches":
            Path("conftest.py").write_text(PATCH)
        case "exits":
            Path("conftest.py").write_text("import os\nos._exit(0)\n")
        case "shadows":
            Path("pytest.py").write_text("raise SystemExit(0)\n")
        case "own-test":
            Path("test_more.py").write_text("def test_more(): assert True\n")
        case "breaks":
            replace("cart.py", "def add", "def put")
        case "other-file":
            mend()
            return claim(["cart.py", "docs.md"])
        case "calls":
            ask(int(sys.argv[2]))
            mend()
        case "learns" if "# Attempt 2" in PROMPT:
            mend()
        case "mended" if "could not be read" not in PROMPT:
            mend()
            return "I have done it."
        case "never-block":
            mend()
            return "I have done it."
        case "echo":
            mend()
            return PROMPT
        case "approve":
            return review("approved")
        case "wants":
            return review("needs_changes", "name the unit of the price")
        case "wants-once" if "Attempt" not in PROMPT and not Path("unit.txt").exists():
            return review("needs_changes", "add unit.txt")
        case "wants-once":
            return review("approved")
        case "with-unit":
            mend()
            if "Must be fixed:\n- add unit.txt" in PROMPT:
                Path("unit.txt").write_text("euro\n")
                return claim(["cart.py", "unit.txt"])
        case "asks":
            try:
                with open("/dev/tty") as terminal:
                    return terminal.readline()
            except OSError as error:
                return f"cannot ask: {error.strerror}"
        case "login":
            sys.exit("Please log in first: agent login")
        case "refused":
            print("starting", file=sys.stderr)
            print(f"\x1b[31m401 for {os.environ['CART_LOGIN']}\x07 \x1b[2Kno such account\x1b[0m\n",
                  file=sys.stderr)  # fmt: skip
            sys.exit(3)
        case "blocked":
            return claim([], status="blocked")
        case "schema":
            return block(task_id=TASK, status="fine", summary="x")
        case "other-task":
            return block(task_id="9.9", status="completed", summary="x")
        case "cut":
            return f"{BEGIN}\n{{"
        case "part":  # a file for each task; the first one takes longest
            begun = time.monotonic()
            while TASK.endswith("1") and time.monotonic() < begun + 5 and len(
                list(Path.cwd().parents[1].glob("backcast-dispatch-*/work/line.txt"))
            ) < 2:  # fmt: skip
                time.sleep(0.05)
            time.sleep(4.0 if TASK.endswith("1") else 0.2)
            Path(f"part-{TASK}.txt").write_text(TASK)
            return claim([f"part-{TASK}.txt"])
        case "line":  # all of them change the same line
            time.sleep(2.0 if TASK.endswith("1") else 0.5)
            file = Path("line.txt")
            file.write_text(f"{file.read_text().strip()} {TASK}\n")
            return claim(["line.txt"])
        case "rival":  # each is good alone, but not together
            if "# Attempt" in PROMPT:
                Path("second.txt").write_text("after the first\n")
                return claim(["second.txt"])
            Path(f"rival-{TASK}.txt").write_text(TASK)
            return claim([f"rival-{TASK}.txt"])
        case "loop":
            while True:
                print("again", flush=True)
                time.sleep(0.05)
        case "sleep":
            time.sleep(600)
    changed = {"deletes": ["test_cart.py"], "notes": ["cart.py"]}.get(what, ["cart.py"])
    return claim(changed, 5 if what == "notes" else True)


def main() -> int:
    """Be the agent."""
    what = sys.argv[1]
    said = act(what)
    match what:
        case "silent":
            print(said, flush=True)
            time.sleep(600)
        case "big":
            for _ in range(int(sys.argv[2])):
                sys.stdout.write("x" * 2**20 + "\n")
        case "daemon":
            stray = [sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"]
            subprocess.Popen(stray, env={})
            subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & sleep 600"],
                             start_new_session=True)  # fmt: skip
            time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0.5)
        case "outside":
            try:
                Path(sys.argv[2]).write_text("x")
                print("wrote")
            except OSError as error:
                print(error)
        case "git":
            subprocess.run(["rm", "-rf", ".git"])
            os.makedirs(".git/hooks")
        case "twice":
            said = claim(["docs.md"], status="failed") + said
        case "fenced":
            value = said.split("\n")[1]
            said = f"\x1b[1mDone\x1b[0m\n{BEGIN}\n```json\n{value}\n```\n\x1b[2m{END}\x1b[0m"
    print(said)
    return what == "exit"


if __name__ == "__main__":
    PROMPT = sys.stdin.read()
    TASK = (re.search(r"^# Task (\S+)", PROMPT, re.MULTILINE) or ["", ""])[1]
    sys.exit(main())
