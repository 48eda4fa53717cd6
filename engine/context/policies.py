"""Policies as files: TOML by which people set them, JSON as a log keeps them."""

import json
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ValidationError

from backcast.domain.budget import CONTEXT
from backcast.domain.compression_settings import CompressionSettings, KeepRule
from backcast.domain.errors import InputError
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import (
    CONSTANTS,
    DEFAULT,
    LIKENESS_NAMES,
    LINES,
    LOOKUP,
    LOOKUP_WEIGHTS,
    RATED,
    RECALL,
    SECTION_WORTH,
    SECTIONS,
    TAG_WORTH,
    WEIGHTS,
    WORTH,
    Details,
    Lookup,
    MapSettings,
    Policy,
    Thinking,
    unrated,
)
from backcast.domain.summary import LIMITS
from backcast.domain.texts import KNOWN
from backcast.engine.context.message_policies import NAMES, message_policy
from backcast.engine.context.strategies import STRATEGIES

RULES = "regress"
"The table of a policy file that says what counts as a regression."
BASE = "base"
"The entry of a policy file that names the strategy over which it is laid."
OFF = ("lookup",)
"Tables of which `false` leaves nothing."
KEYS: Mapping[str, Iterable[str]] = {
    "texts": KNOWN, "shares": CONTEXT, "priorities": SECTIONS, "weights": WEIGHTS,
    "likeness": LIKENESS_NAMES, "recall": RECALL, "worth": WORTH, "constants": CONSTANTS,
    "lookup.weights": LOOKUP_WEIGHTS, "lookup.likeness": LOOKUP, "lives": LIMITS,
    "map.lines": LINES, "map.sections": SECTION_WORTH, "map.tags": TAG_WORTH,
}  # fmt: skip
"The keys of each table of a policy whose values are all of one kind."
NO_SETTING = "needed a setting that there is"
_NAMED = ", ".join((*STRATEGIES, *NAMES))


def policy_at(path: Path) -> Policy:
    """Return the policy of a TOML file: what it does not set is as in its base.

    Rules that stand beside it, under `regress`, are no settings of it. `InputError` in one line,
    which names the setting, what was needed and what was found.
    """
    return policy_in(str(path), toml_at(path), path.parent)


def policy_in(
    where: str, tables: Mapping[str, object], folder: Path | None = None, over: tuple[str, ...] = ()
) -> Policy:
    """Return the policy that some tables of TOML set; `where` is what an error calls them.

    A base may be a file of `folder`; none is read without one. `over` are the files that are laid
    over this one.
    """
    settings = {
        name: None if value is False and name in OFF else value
        for name, value in tables.items()
        if name not in (RULES, BASE)
    }
    return _checked(where, _over(base_policy(where, tables, folder, over).model_dump(), settings))


def base_policy(
    where: str, tables: Mapping[str, object], folder: Path | None = None, over: tuple[str, ...] = ()
) -> Policy:
    """Return the policy over which some tables of TOML are laid: see `policy_in`."""
    base = _base(where, tables, folder)
    if found := policy_known(base):
        return found
    assert folder is not None  # as `_base` found
    file, files = folder / base, (*over, where)
    if file.resolve() in [Path(name).resolve() for name in files]:
        raise InputError(f"{where}: {BASE}: needed a file that is not laid over this one, found"
                         f" {base!r}")  # fmt: skip
    return policy_in(str(file), toml_at(file), file.parent, files)


def policy_known(name: str) -> Policy | None:
    """Return the policy of a name; None where no policy has it."""
    try:
        return STRATEGIES.get(name) or message_policy(name)
    except ValidationError as error:
        raise InputError(f"{name}: {_first(error)}") from None


def base_of(name: str) -> str:
    """Return the strategy over which a file is laid, and the files that are its bases; the
    default's name where none is named, the name itself of a strategy."""
    policy_named(name)  # which refuses a circle
    while not policy_known(name):
        base = _base(name, toml_at(Path(name)), Path(name).parent)
        name = base if policy_known(base) else str(Path(name).parent / base)
    return name


def _base(where: str, tables: Mapping[str, object], folder: Path | None) -> str:
    """Return the name of a base, or its file from `folder` on."""
    base = tables.get(BASE, DEFAULT.name)
    is_file = isinstance(base, str) and base.endswith(".toml") and folder is not None
    if not isinstance(base, str) or not (is_file or policy_known(base)):
        files = " or a TOML file" if folder else ""
        raise InputError(
            f"{where}: {BASE}: needed one of {_NAMED}{files}, found {base!r}{_near(base)}"
        )
    return base


def _near(name: object, known: Iterable[str] = (*STRATEGIES, *NAMES)) -> str:
    """Return what may have been meant by a name, to be said behind it; empty for nothing."""
    found = get_close_matches(name, known, 1, 0.75) if isinstance(name, str) else []
    return f"; did you mean {found[0]}?" if found else ""


def _of_others(key: str) -> str:
    """Return of which tables a key is that stands in another; empty for none."""
    tables = [f"[{table}]" for table, known in KEYS.items() if key in known]
    return f"; {key} is of {', '.join(tables)}" if tables else ""


def toml_at(path: Path) -> dict[str, object]:
    """Return the tables of a policy file; `InputError` where it is none."""
    try:
        return toml_in(str(path), path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: needed a policy file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: needed TOML: {error}") from None


def toml_in(where: str, text: str) -> dict[str, object]:
    """Return the tables of a text; `InputError` where it is no TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{where}: needed TOML: {error}") from None


def policy_named(name: str) -> Policy:
    """Return the policy of a strategy's name, or of a TOML file."""
    if found := policy_known(name):
        return found
    if not Path(name).exists():
        if name.endswith(".toml"):
            raise InputError(f"{name}: needed a policy file, found no such file")
        raise InputError(f"needed a TOML file or one of {_NAMED}, found {name!r}{_near(name)}")
    return policy_at(Path(name))


def laid_over(policy: Policy, settings: Mapping[str, object]) -> Policy:
    """Return a policy with some settings laid over it, checked as those of a file are."""
    return _checked("policy", _over(policy.model_dump(), dict(settings)))


def changed(before: Policy, after: Policy) -> list[str]:
    """Return the settings in which two policies differ, a line each, without their names: single
    settings first, then those of tables, last what only words them.

    >>> changed(DEFAULT, DEFAULT.model_copy(update={"errors": 0, "name": "other"}))
    ['errors 5 -> 0']
    """
    old, new = (dict(_flat(policy.model_dump(mode="json"))) for policy in (before, after))
    names = [name for name in dict.fromkeys((*old, *new)) if name not in ("name", "version")]
    for name in names:
        if RATED in name:  # which no default sets
            old.setdefault(name, 0.0)
            new.setdefault(name, 0.0)
    return [
        f"{name} {json.dumps(old.get(name))} -> {json.dumps(new.get(name))}"
        for name in sorted(names, key=_rank)
        if old.get(name) != new.get(name)
    ]


def _rank(name: str) -> int:
    return 2 if name in ("system", "order") or name.startswith("texts.") else "." in name


def _flat(settings: Mapping[str, object], table: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        place = f"{table}.{name}" if table else name
        if isinstance(value, dict):
            yield from _flat(value, place)
        else:
            yield place, value


def differing_settings(before: Policy, after: Policy) -> list[str]:
    """Return the names of settings in which two policies differ, those of tables as `table.key`."""
    old, new = (dict(_flat(policy.model_dump(mode="json"))) for policy in (before, after))
    return [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]


def policy_of(body: bytes) -> Policy:
    """Return a recorded policy."""
    try:
        return Policy.model_validate_json(body)
    except ValidationError as error:
        raise InputError(f"needed a recorded policy, {_first(error)}") from None


def _over(before: dict[str, object], settings: dict[str, object]) -> dict[str, object]:
    """Return settings with others laid over them, table by table."""
    merged = dict(before)
    for name, value in settings.items():
        under = merged.get(name)
        if isinstance(value, dict) and isinstance(under, dict):
            value = _over(under, value)
        merged[name] = value
    return merged


def _checked(where: str, settings: dict[str, object]) -> Policy:
    for table, known in KEYS.items():
        found = settings
        for name in table.split("."):
            found = under if isinstance(under := found.get(name), dict) else {}
        for key in unrated(found):
            if key not in known and (near := _of_others(key) or _near(key, known)):
                raise InputError(f"{where}: {table}: {NO_SETTING}, found {key!r}{near}")
    try:
        # As JSON, in which a list may be a tuple and yet no text a number.
        return Policy.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        raise InputError(f"{where}: {_first(error)}") from None


def needed_by(message: str) -> str:
    """Return what was needed, in the words of a policy file, as a check of it says.

    >>> needed_by("Input should be a valid number, unable to parse string as a number")
    'a valid number'
    """
    needed = message.removeprefix("Input should be ").replace("an object", "a table")
    return needed.partition(", unable to")[0]


def _first(error: ValidationError) -> str:
    """Return the first wrong setting, what was needed there, and what was found."""
    wrong = error.errors()[0]
    *outer, name = map(str, wrong["loc"] or ("",))
    place, found = ".".join([*outer, name]), reprlib.repr(wrong["input"])
    if wrong["type"] == "extra_forbidden":
        place = ".".join(outer)
        if "guideline" in outer:
            outer = [part for part in outer if not part.isdecimal()]
        inner: dict[str, type[BaseModel]] = {
            "compression": CompressionSettings,
            "compression.guideline": KeepRule,
            "messages.compress": CompressionSettings,
            "messages.compress.guideline": KeepRule,
            "thinking": Thinking,
            "small": Details,
            "large": Details,
            "map": MapSettings,
            "lookup": Lookup,
            "messages": MessageSettings,
            "": Policy,
        }
        known = (*inner[".".join(outer)].model_fields, *(() if outer else (BASE, RULES)))
        needed, found = f"one of {', '.join(known)}", repr(name)
        if near := _near(name, known):
            needed, found = "a setting that there is", f"{name!r}{near}"
    elif wrong["type"] == "value_error":
        return wrong["msg"].removeprefix("Value error, ")
    else:
        needed = needed_by(wrong["msg"])
    return (
        f"{place}: needed {needed}, found {found}" if place else f"needed {needed}, found {found}"
    )
