"""Agents as data: how each is called, pointed at a server, and read."""

import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backcast.domain.dispatch_results import schema_of
from backcast.domain.errors import InputError
from backcast.domain.problems import first_problem
from backcast.domain.spending import Price

FOLDER = Path(__file__).parent / "agents"
COMMAND = "cmd:"
"The beginning of an agent that is any command line at all."
ALWAYS = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
"Variables of the user that every agent gets."
LONGEST_ARGUMENT = 131_071
"Bytes of one argument, as Linux allows."
_PLACE = re.compile(r"\{(\w+)\}")


class Selector(BaseModel):
    """Which of an agent's records tell something, and where in them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: dict[str, Any] = {}
    "Values by path: `item.type`; a record has all of them."
    text: str = ""
    "The path of the text; `messages.-1.content`, a list of parts too."
    prompt: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    "Paths of numbers of tokens, which are added up."
    money: str = ""


class OutputForm(BaseModel):
    """How an agent prints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["plain", "json", "jsonl"] = "plain"
    file: str = ""
    "The file that holds it; empty for the standard output."
    answer: tuple[Selector, ...] = ()
    "Its final answer, as the last record tells it."
    failed: tuple[Selector, ...] = ()
    "Records by which it tells that it failed, whatever its exit code."
    usage: tuple[Selector, ...] = ()
    session: tuple[Selector, ...] = ()


class ServerForm(BaseModel):
    """How an agent is pointed at a server of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    files: dict[str, str] = {}


class AgentForm(BaseModel):
    """An agent: its command line, and all that it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    "`{work}`, `{home}`, `{model}`, `{server}`, `{prompt}` and `{prompt_file}` are filled in."
    roles: dict[str, tuple[str, ...]] = {}
    """Further arguments of a role: which tools it may use, and which files it may write. `mend` is
    for whoever is asked for its result alone, which needs no tool; without it the role's."""
    last: tuple[str, ...] = ()
    "Arguments that stand after all others."
    prompt: Literal["stdin", "argument", "file"] = "stdin"
    model: str = ""
    model_arguments: tuple[str, ...] = ()
    "Arguments that name the model; left out where none is named."
    environment: dict[str, str] = {}
    keys: tuple[str, ...] = ()
    "Variables of the user that it may see, such as the key of its provider."
    logins: dict[str, str] = {}
    "Files of the user that it needs to be logged in, copied to its own home: there by here."
    files: dict[str, str] = {}
    server: ServerForm = ServerForm()
    output: OutputForm = OutputForm()
    schema_arguments: tuple[str, ...] = ()
    "Arguments that hold its result to a JSON schema: `{schema_file}` or `{schema}`; empty if none."
    reads: tuple[str, ...] = ()
    "Files of rules of a project that it reads by itself, which its prompt need not show."
    window: int = Field(default=32_768, ge=1024)
    "Tokens that its model reads."
    fill: float = Field(default=0.6, gt=0, le=1)
    "The share of the window that a prompt may have: it adds its own words and its tools."
    tokenizer: str = "upper-bound"
    "How its model counts; a bound that no model exceeds where it is not known."
    install: str = ""
    "How to get it."
    seconds: float = Field(default=1800, gt=0)
    silence: float = Field(default=600, gt=0)
    prompt_price: float = Field(default=0, ge=0)
    answer_price: float = Field(default=0, ge=0)
    "What a million tokens cost."

    @property
    def price(self) -> Price:
        """What its tokens cost, per million of them."""
        return Price(self.prompt_price, self.answer_price)


class StartedAs(NamedTuple):
    """An agent's command line with all that is filled in."""

    command: tuple[str, ...]
    environment: dict[str, str]
    prompt: Path | None
    "The file for its standard input."
    shown: tuple[str, ...]
    "The command line as it is recorded: without the prompt."


def agent_of(named: str, own: Path | None = None) -> AgentForm:
    """Return the agent of a name, `NAME:MODEL`, or a command line after `cmd:`.

    `own` is a file of agents that go before those of the package. `InputError` for no agent.
    """
    if named.startswith(COMMAND):
        words = _words(named.removeprefix(COMMAND))
        return AgentForm(name=Path(words[0]).name, program=words[0], arguments=tuple(words[1:]))
    name, colon, model = named.partition(":")
    known = _known(own)
    if name not in known:
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]!r}? T" if near else "t"
        raise InputError(
            f"no agent {name[:60]!r}; {meant}here are {', '.join(sorted(known))}, and any command"
            f" line as '{COMMAND} python my_agent.py'"
        )
    if colon and not model.strip():
        raise InputError(f"agent {named[:60]!r}: needed a model after the colon, found none")
    found = known[name]
    return found.model_copy(update={"model": model}) if model else found


def program_of(form: AgentForm, folder: Path) -> str:
    """Return where an agent's program lies; `InputError` where it is not installed."""
    found = shutil.which(form.program)
    if found is None and "/" in form.program and os.access(folder / form.program, os.X_OK):
        found = str(folder / form.program)
    if found is None:
        how = f"; to install it: {form.install}" if form.install else ""
        raise InputError(f"agent {form.name!r}: no program {form.program!r} on PATH{how}")
    return os.path.abspath(found)


def prepared(
    form: AgentForm, role: str, prompt: str, program: str, *, home: Path, work: Path, server: str,
    mark: Mapping[str, str], phase: str = "",
) -> StartedAs:  # fmt: skip
    """Write what an agent needs into its home, and return its command line.

    `phase` names other arguments than those of its role; its result is that of the role.
    `server` is the address of a model's server without /v1; empty for the agent's own.
    """
    file = home / "prompt.txt"
    file.write_text(prompt)
    values = {
        "home": str(home), "work": str(work), "model": form.model or "default", "server": server,
        "prompt": prompt, "prompt_file": str(file),
    }  # fmt: skip
    parts = [*form.arguments, *form.roles.get(phase or role, ()), *form.schema_arguments]
    if form.schema_arguments:
        values |= {"schema": json.dumps(schema_of(role)), "schema_file": str(home / "schema.json")}
        (home / "schema.json").write_text(values["schema"])
    at_server = form.server.arguments if server else ()
    named = any("{model}" in part for part in at_server)
    parts += [*(form.model_arguments if form.model and not named else ()), *at_server]
    parts += form.last
    written = {**form.files, **(form.server.files if server else {})}
    for path, text in written.items():
        _put(home, filled(path, values), filled(text, values).encode())
    for path, source in form.logins.items():
        found = Path(source).expanduser()
        if not server and found.is_file():
            _put(home, filled(path, values), found.read_bytes())
    environment = {name: os.environ[name] for name in ALWAYS if name in os.environ}
    if not server:
        environment |= {name: os.environ[name] for name in form.keys if name in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home.parent / "tmp"), **mark}
    stated = {**form.environment, **(form.server.environment if server else {})}
    environment |= {name: filled(text, values) for name, text in stated.items()}
    command = (program, *(filled(part, values) for part in parts))
    if form.prompt == "argument" and len(prompt.encode()) > LONGEST_ARGUMENT:
        raise InputError(
            f"agent {form.name!r} takes its prompt as an argument of up to {LONGEST_ARGUMENT:,}"
            f" bytes, found {len(prompt.encode()):,}"
        )
    shown = (form.program, *(filled(part, {**values, "prompt": "PROMPT"}) for part in parts))
    return StartedAs(command, environment, file if form.prompt == "stdin" else None, shown)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its places filled in; what is in braces and no place stays.

    >>> filled('{"a": {work}}', {"work": "w"})
    '{"a": w}'
    """
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def forms_in(file: Path) -> list[AgentForm]:
    """Return the agents that a file states, each a table of its own; `InputError` for others."""
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise InputError(f"{file}: needed TOML, found none: {error}") from None
    forms = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{file}: needed a table for each agent, found {name} = {table!r}")
        try:
            forms.append(AgentForm(**{"name": name, **table}))
        except ValidationError as error:
            raise InputError(f"{file}: agent {name!r}: {first_problem(error)}") from None
    return forms


def _known(own: Path | None) -> dict[str, AgentForm]:
    files: Iterable[Path] = sorted(FOLDER.glob("*.toml"))
    known = {form.name: form for file in files for form in forms_in(file)}
    return known | ({form.name: form for form in forms_in(own)} if own else {})


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"'{COMMAND}{line[:60]}': {error}") from None
    if not words:
        raise InputError(f"needed a command line after '{COMMAND}', found nothing")
    return words


def _put(home: Path, path: str, body: bytes) -> None:
    target = home / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(body)
    target.chmod(0o600)
