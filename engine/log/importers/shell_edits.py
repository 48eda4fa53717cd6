r"""What the commands of a shell do to files, where they are plain.

A heredoc whose word is quoted, or whose text holds nothing to expand, gives the whole text of a
file. Whatever else writes a file leaves an unknown text; what may change any file, such as a
checkout, leaves all of them in doubt. Commands under a condition may not have run.

>>> [edit.text for edit in commands("cat > a.py <<'EOF'\nx = 1\nEOF").edits]
['x = 1\n']
>>> commands("sed -i s/a/b/ a.py").edits[0].why
'`sed` changed it'
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from backcast.engine.log.importers.file_edits import FileEdit
from backcast.engine.log.importers.patch_edits import BEGIN

_HEREDOC = re.compile(r"<<(-?)\s*(?:'([^'\n]+)'|\"([^\"\n]+)\"|\\?(\w+))")
_EXPANDS = re.compile(r"[$`\\]")
_UNPLAIN = re.compile(r"(?:^|[;&|\n]\s*)(?:if|for|while|until|case|function|\(|\{)(?:\s|$)")
"What makes a command more than a list of plain ones."
_OPENERS = frozenset(("then", "do", "else", "sudo", "time", "command", "env", "{", "("))
"Words in front of a command."
_WRITES = re.compile(r"open\(|write|replace\(|unlink|rename|remove|shutil")
"What a script says that may change files."
_SCRIPTS = frozenset(("python", "python3", "node", "ruby", "perl", "bash", "sh"))
_GLOB = re.compile(r"[*?\[\]{}$`~]")
_ODD = re.compile(r"[$`\\*?\[\]{}~!]|^-")
"What the shell or `echo` may change in a word."
_MARK = "\x00heredoc\x00"
_SPLIT = frozenset((";", "&&", "||", "|", "&", "\n", "|&"))
_REDIRECT = frozenset((">", ">>", ">|", "&>", "&>>", ">&"))
REWRITE = {
    "sed": "-i", "perl": "-i", "black": "", "isort": "", "autopep8": "-i", "yapf": "-i",
    "prettier": "--write", "gofmt": "-w", "rustfmt": "", "patch": "", "truncate": "",
    "dos2unix": "", "ed": "", "ex": "", "install": "", "2to3": "-w", "autoflake": "-i",
    "pyupgrade": "",
}  # fmt: skip
"Commands that change the files they name, with the option that makes them do so."
GIT = frozenset((
    "checkout", "restore", "reset", "stash", "apply", "am", "merge", "pull", "rebase", "revert",
    "cherry-pick", "switch", "clean", "bisect",
))  # fmt: skip
"Commands of git that change files."
_ACTS = re.compile(
    r">|<<|\b(?:rm|mv|cp|cat|tee|git|cd|ruff|unzip|tar|rsync|pre-commit|-c|-e|"
    + "|".join(map(re.escape, REWRITE))
    + r")\b"
)
"What a command line holds that does anything to files; splitting one into words takes longer."
LONGEST = 2**20
"Characters of the longest command, without heredocs, that is taken apart."


class Commands(NamedTuple):
    """What a command did."""

    edits: tuple[FileEdit, ...] = ()
    doubts: str = ""
    "The command that may have changed any file; empty for none."
    folder: str = ""
    "The folder that a shell that goes on stands in afterwards; empty where it stays."
    shows: str = ""
    "The file whose text is all that is printed."
    ran: tuple[bool, ...] = ()
    "Per edit, whether it was tried even where the whole line ended with an error."
    parts: int = 1
    "How many commands stand on the line."


class _Doc(NamedTuple):
    text: str
    plain: bool


def commands(line: str) -> Commands:
    """Return what a command line did, if it ran to its end without an error."""
    if BEGIN in line or not _ACTS.search(line):
        return Commands()
    docs: list[_Doc] = []
    text = _without_docs(line, docs)
    if len(text) > LONGEST:
        return Commands(doubts="a long command")
    unsure = bool(_UNPLAIN.search(text))
    parts = list(_split(text))
    edits: list[FileEdit] = []
    ran: list[bool] = []
    doubts, folder, documents = "", "", iter(docs)
    for place, (words, before, after) in enumerate(parts):
        own = next(documents, None) if any(_MARK in word for word in words) else None
        conditional = unsure or "||" in (before, after)
        while words and words[0] in _OPENERS:
            words = words[1:]
        name = words[0].rpartition("/")[2] if words else ""
        if name == "cd" and len(words) == 2 and not _GLOB.search(words[1]) and not conditional:
            folder = words[1] if words[1].startswith("/") or not folder else f"{folder}/{words[1]}"
            continue
        piped = "|" in (before, after)
        made = _edits(name, words, own, piped=piped)
        for edit in made:
            if conditional and edit.kind != "unsure":
                why = "it was changed by a command under a condition"
                edit = FileEdit(edit.to or edit.path, "unsure", why=why)
            edits.append(edit._replace(path=_under(folder, edit.path), to=_under(folder, edit.to)))
            ran.append(place < len(parts) - 1 and (place == 0 or before != "&&"))
        doubts = doubts or _doubt(name, words, made, own)
    shows = ""
    if len(parts) == 1 and len(parts[0][0]) == 2 and parts[0][0][0] == "cat" and not docs:
        shows = parts[0][0][1] if not _GLOB.search(parts[0][0][1]) else ""
    return Commands(tuple(edits), doubts, folder, shows, tuple(ran), len(parts))


def _under(folder: str, path: str) -> str:
    return path if not path or not folder or path.startswith("/") else f"{folder}/{path}"


def _without_docs(line: str, docs: list[_Doc]) -> str:
    """Return a command line with its heredocs cut out, each with a mark in its place."""
    rest, kept = line.replace("\r\n", "\n"), []
    waiting: list[tuple[str, bool, bool]] = []
    lines = rest.split("\n")
    at = 0
    while at < len(lines):
        own, found = lines[at], list(_HEREDOC.finditer(lines[at]))
        at += 1
        if not found or "<<<" in own:
            kept.append(own)
            continue
        waiting = [(m[2] or m[3] or m[4], bool(m[2] or m[3]) or "\\" in m[0], bool(m[1]))
                   for m in found]  # fmt: skip
        kept.append(_HEREDOC.sub(lambda match: f" {_MARK} ", own))
        for word, quoted, tabs in waiting:
            body: list[str] = []
            while at < len(lines) and (lines[at].lstrip("\t") if tabs else lines[at]) != word:
                body.append(lines[at].lstrip("\t") if tabs else lines[at])
                at += 1
            ended = at < len(lines)
            at += 1
            text = "".join(f"{row}\n" for row in body)
            docs.append(_Doc(text, ended and (quoted or not _EXPANDS.search(text))))
    return "\n".join(kept)


def _split(text: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield the words of each command, with the operators before and behind it."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=";&|\n><")
    lexer.whitespace = " \t\r"
    lexer.wordchars += _MARK + "$`{}[]()!@%^,:+"
    lexer.commenters = ""
    words: list[str] = []
    before = ""
    try:
        for word in lexer:
            operator = word.strip("\n") or "\n" if set(word) <= set(";&|\n") else word
            if operator in _SPLIT:
                if words:
                    yield words, before, operator
                words, before = [], operator
            else:
                words.append(word)
    except ValueError:  # quotes that do not close
        words = []
    if words:
        yield words, before, ""


def _edits(name: str, words: Sequence[str], doc: _Doc | None, *, piped: bool) -> list[FileEdit]:
    """Return what a plain command does to files."""
    plain, targets = _redirected(words)
    names = [word for word in plain[1:] if not word.startswith("-") and _MARK not in word]
    options = [word for word in plain[1:] if word.startswith("-")]
    found: list[FileEdit] = []
    if name == "tee":
        targets = [(path, "-a" in options) for path in names]
    for path, appends in targets:
        if path.startswith("/dev/") or path.isdigit() or path == "-" or _GLOB.search(path):
            continue
        found.append(_written(path, name, names, options, doc, appends=appends, piped=piped))
    if name == "tee" or found:
        return found
    sure = [path for path in names if not _GLOB.search(path)]
    if name == "git" and names and names[0] in ("rm", "mv"):
        name, names, sure = names[0], names[1:], sure[1:]
    if name == "rm":
        folder = "folder" if any("r" in word.lower() for word in options) else ""
        return [FileEdit(path, "delete", why=folder) for path in sure if "--cached" not in options]
    if name in ("mv", "cp") and len(sure) == len(names) == 2:
        into = sure[1].rstrip("/") + "/" + sure[0].rpartition("/")[2]
        to = into if sure[1].endswith("/") or sure[1] == "." else sure[1]
        if name == "mv":
            return [FileEdit(sure[0], "move", to=to)]
        return [FileEdit(to, "unsure", why="it is a copy of another file")]
    if name in REWRITE and (not REWRITE[name] or _has(options, REWRITE[name])):
        files = _without_scripts(plain[1:], sure) if name in ("sed", "perl") else sure
        return [
            FileEdit(path, "unsure", why=f"`{name}` changed it")
            for path in files
            if path.rstrip("/") == path and path not in (".", "..")
        ]
    if name == "git" and names and names[0] in ("checkout", "restore") and "--" in plain:
        files = plain[plain.index("--") + 1 :]
        return [FileEdit(path, "unsure", why=f"`git {names[0]}` brought it back") for path in files]
    return []


def _without_scripts(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the files among the words behind `sed` or `perl`: the script, or what stands behind
    each -e or -f, is none.

    >>> _without_scripts(["-i", "-e", "s/a/b/g", "-e", "1d", "a.py"], ["s/a/b/g", "1d", "a.py"])
    ['a.py']
    """
    scripts = [after for word, after in pairwise(words) if re.fullmatch(r"-[a-zA-Z]*[ef]", word)]
    if not scripts and not any(word.startswith(("--expression=", "--file=")) for word in words):
        scripts = list(names[:1])
    return [name for name in names if name not in scripts]


def _written(
    path: str, name: str, names: Sequence[str], options: Sequence[str], doc: _Doc | None, *,
    appends: bool, piped: bool,
) -> FileEdit:  # fmt: skip
    """Return what a redirection writes into a file."""
    kind = "append" if appends else "write"
    if doc is not None and name in ("cat", "tee") and (name == "tee" or not names) and not piped:
        if doc.plain:
            return FileEdit(path, kind, doc.text)
        return FileEdit(path, "unsure", why="the shell expanded the text that was written")
    if name in (":", "true") and not appends:
        return FileEdit(path, "write", "")
    if name == "echo" and not piped and not any(map(_ODD.search, (*names, *options))):
        return FileEdit(path, kind, " ".join(names) + "\n")
    return FileEdit(path, "unsure", why=f"`{name[:40]}` wrote it")


def _redirected(words: Sequence[str]) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return the words of a command without its redirections, and the files that these write."""
    plain: list[str] = []
    targets: list[tuple[str, bool]] = []
    waiting = iter(words)
    for word in waiting:
        if word in _REDIRECT:
            number = plain.pop() if plain and plain[-1].isdigit() and len(plain) > 1 else "1"
            path = next(waiting, "")
            if number != "2" and path and word != ">&":
                targets.append((path, word.endswith(">>")))
        elif word in ("<", "<<<"):
            next(waiting, "")
        else:
            plain.append(word)
    return plain, targets


def _has(options: Sequence[str], option: str) -> bool:
    return any(
        word == option or (word.startswith(option) and not word.startswith("--"))
        or (len(option) == 2 and re.fullmatch(r"-[a-zA-Z]*", word) and option[1] in word)
        for word in options
    )  # fmt: skip


def _doubt(name: str, words: Sequence[str], made: Sequence[FileEdit], doc: _Doc | None) -> str:
    """Return a command that may have changed files that it does not name; empty for others."""
    if name == "git" and len(words) > 1 and words[1] in GIT:
        return "" if made else f"git {words[1]}"
    if name in ("patch", "unzip", "tar", "rsync", "pre-commit"):
        return name
    if name == "ruff" and ("format" in words or "--fix" in words):
        return name
    if name in _SCRIPTS:
        texts = [doc.text] if doc else [w for o, w in pairwise(words) if o in ("-c", "-e")]
        return f"a script of {name}" if any(map(_WRITES.search, texts)) else ""
    if name in REWRITE and (not REWRITE[name] or _has(words, REWRITE[name])):
        broad = not made or any(_GLOB.search(word) or word in (".", "./") for word in words[1:])
        return name if broad else ""
    return ""
