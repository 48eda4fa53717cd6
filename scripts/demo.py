"""Shows in a minute what Backcast is for: one story, told by its own commands.

Of each command's output the telling lines are printed. The exit code is 1 where a proof fails.
"""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path
from threading import Timer

import backcast
from backcast.engine.interfaces import cli
from backcast.projections import versions

FOLDER, WIDTH = Path(__file__).resolve().parents[1] / ".demo", 100
AGENT = "../fixtures/recorded/agent.jsonl"
POLICY = 'name = "forget"\nerrors = 0  # tell the model of no failure: that saves tokens\n'


def main(repository: Path) -> None:
    """Tell the story; raises `SystemExit` with a message at the first proof that fails."""
    repository = repository.resolve()
    begin()
    tell_of_a_run()
    tell_of_a_history(repository)
    tell_of_an_agent()
    print(f"Open {FOLDER / 'till.html'}")
    print("Now by hand: cd .demo; ../.venv/bin/backcast help", flush=True)


def begin() -> None:
    """Go to an empty folder of the demo's own."""
    FOLDER.mkdir(exist_ok=True)
    os.chdir(FOLDER)
    os.environ.pop("BACKCAST_STORE", None)  # the default one, in this folder
    for old in FOLDER.glob("backcast.db*"):
        old.unlink()
    Path("forget.toml").write_text(POLICY)


def tell_of_a_run() -> None:
    """Tell how a run can be asked about, and judged under another policy."""
    print("# 1. A task runs until its tests pass. Its answers are recorded, all else is real.")
    answers = "answers:../fixtures/logs/validators.jsonl"
    run("run", "../fixtures/specs/validators.toml", "--model", answers, begin="plan ", first=7)
    print("\n# 2. Event 33 is its last prompt. What did the model see, and what put it there?")
    run("context", "validators@33", begin="# Errors", first=2)
    run("blame", "validators@33", "failure:30.1", first=2, last=1)
    print("\n# 3. Was that sent? Each prompt is rebuilt, and chosen anew, to the same bytes.")
    run("verify", "validators", first=0, last=1)
    print("\n# 4. What if no failures were shown? Fewer tokens, but the accepted code used them.")
    run("diff", "validators@33", "--policy", "forget.toml", first=3, last=1)
    regress = ("regress", "validators", "--policy", "forget.toml")
    output = run(*regress, begin="REGRESSION", first=1, code=1)
    prove("REGRESSION under forget: evidence recall fell" in output, "found no regression")


def tell_of_a_history(repository: Path) -> None:
    """Tell what is known of a git repository."""
    print("\n# 5. A git history is a log, too: it can be asked about any commit.")
    run("import", "git", os.path.relpath(repository), "--as", "history", first=0, last=1)
    shas = git(repository, "rev-list", "--first-parent", "HEAD").decode().split()
    when = f"commit:{shas[len(shas) // 2][:10]}"
    run("show", "versions", f"history@{when}", first=3)
    with backcast.open("backcast.db") as store:
        heads = versions.latest(store.task("history").at(when).versions)
    recorded = {path: (head.source or "").removeprefix("blob:") for path, head in heads.items()}
    prove(recorded == files(repository, when.removeprefix("commit:")), f"git differs at {when}")
    print(f"These {len(recorded)} files are those that git has there, by name and content.")
    print("\n# 6. What should a model know of this code? A map of it, in a fixed number of tokens.")
    if "map of" in run("map", "update", "history", "--last", "3", first=1):  # else no run to read
        run("map", "show", "history", first=2)


def tell_of_an_agent() -> None:
    """Tell what an agent asked, and make the page."""
    print("\n# 7. An agent that 'backcast record' stood behind: what broke its prompt's beginning?")
    run("diff", f"{AGENT}@9", f"{AGENT}@12", first=4)
    output = run("verify", AGENT, first=0, last=1)
    prove(" 0 failed" in output, "a recorded request was not rebuilt to the byte")
    print("\n# 8. A run can be looked at: one file, which opens without a server.")
    run("view", "../fixtures/logs/till.jsonl", "--html", "till.html", first=1)


def run(*arguments: str, begin: str = "", first: int = 9, last: int = 0, code: int = 0) -> str:
    """Run a command and return its output; print the first lines from `begin` on, and the last."""
    command = f"$ backcast {' '.join(arguments)}"
    print(clipped(command), flush=True)
    hint = Timer(1.5, print, ("... some seconds",), {"file": sys.stderr, "flush": True})
    hint.start()
    output, ended = io.StringIO(), 0
    try:
        with redirect_stdout(output), redirect_stderr(output):
            cli.main(arguments)
    except SystemExit as end:
        ended = int(end.code or 0)
    finally:
        hint.cancel()
    lines = [line for line in output.getvalue().splitlines() if line]
    prove(ended == code, f"{command}: needed exit code {code}, found {ended}: {lines[-1:]}")
    start = next((n for n, line in enumerate(lines) if line.startswith(begin)), -1)
    prove(start >= 0 or not lines, f"{command}: found no line that begins with {begin!r}")
    chosen = {*range(start, start + first), *range(len(lines) - last, len(lines))}
    for number, line in enumerate(lines):
        if number in chosen:
            print(clipped(line))
        elif number == 0 or number - 1 in chosen:
            print("...")
    return output.getvalue()


def clipped(line: str) -> str:
    """Return a line without what goes beyond the width."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def prove(holds: bool, otherwise: str) -> None:
    """End the demo, with exit code 1, where something does not hold."""
    if not holds:
        sys.exit(f"scripts/demo: {otherwise}")


def files(repository: Path, sha: str) -> dict[str, str]:
    """Return the SHA-256 of each file that git has at a commit; "" where it lacks the content."""
    listed = git(repository, "ls-tree", "-r", "-z", sha).split(b"\0")[:-1]
    oids = b"".join(line.split(b"\t")[0].split()[2] + b"\n" for line in listed)
    bodies, found = io.BytesIO(git(repository, "cat-file", "--batch", stdin=oids)), {}
    for line in listed:
        path = line.split(b"\t", 1)[1].decode(errors="backslashreplace")
        about = bodies.readline().split()
        has = about[-1] != b"missing"  # as a submodule's is
        found[path] = sha256(bodies.read(int(about[-1]) + 1)[:-1]).hexdigest() if has else ""
    return found


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what git prints."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
