"""A closed JSON schema as the grammar by which llama.cpp holds an answer to it.

>>> print(gbnf({"type": "array", "items": {"enum": ["a", 1]}, "maxItems": 3}))
root ::= "[" space (root1 ("," space root1){0,2})? space "]"
root1 ::= "\\"a\\"" | "1"
space ::= " "?
char ::= [^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" plane hex hex)
plane ::= [0-9a-cA-CefEF] hex | [dD] [0-7]
hex ::= [0-9a-fA-F]

(llama-cpp-python has such a converter. What its strings hold may be no JSON, a backslash or a
letter beyond ASCII in an `enum` ends the process, and what it does not know it leaves out.)
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from backcast.domain.errors import ModelError

SHARED = r"""
space ::= " "?
char ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" plane hex hex)
plane ::= [0-9a-cA-CefEF] hex | [dD] [0-7]
hex ::= [0-9a-fA-F]""".lstrip()
"Of strings: no control characters, and no half of a surrogate pair."
PLAIN = {
    "string": '"\\"" char* "\\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": '"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
}
WORDS = frozenset((
    "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
    "minLength", "maxLength", "enum", "const", "anyOf", "oneOf", "$ref", "$defs",
    "title", "description", "default", "examples", "$schema", "$id",
))  # fmt: skip
"What a schema may say; the words of the last line bind nothing."
MOST = 2000
"Of a grammar that repeats something up to more times llama.cpp forgets the bound."


def gbnf(schema: Mapping[str, Any]) -> str:
    """The grammar of a schema; `ModelError` where it says what no grammar is made of here."""
    written = _Rules(schema)
    try:
        written.rule(schema, "root")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _refused(f"one that is whole, found {type(error).__name__} {error}") from None
    rules = "\n".join(f"{name} ::= {body}" for name, body in written.rules.items())
    return f"{rules}\n{SHARED}"


class _Rules:
    def __init__(self, whole: Mapping[str, Any]) -> None:
        self.whole = whole
        self.rules: dict[str, str] = {}
        self.named: dict[str, str] = {}

    def rule(self, schema: Mapping[str, Any], name: str = "") -> str:
        """Return the name of a schema's rule."""
        name = name or f"root{len(self.rules)}"
        self.rules[name] = ""  # keeps its place before those that it needs
        self.rules[name] = self._body(schema)
        return name

    def _body(self, schema: Mapping[str, Any]) -> str:
        if unknown := sorted(set(schema) - WORDS):
            raise _refused(f"one without {unknown[0]!r}")
        for word in ("minItems", "maxItems", "minLength", "maxLength"):
            if schema.get(word, 0) > MOST:
                raise _refused(f"{word} of {MOST:,} or less, found {schema[word]:,}")
        if "$ref" in schema:
            return self._referred(schema["$ref"])
        if "const" in schema or "enum" in schema:
            return " | ".join(map(_literal, schema.get("enum", [schema.get("const")])))
        if either := schema.get("anyOf", schema.get("oneOf")):
            return " | ".join(map(self.rule, either))
        match schema.get("type"):
            case "object":
                return self._object(schema)
            case "array":
                each = self.rule(schema["items"])
                low, high = schema.get("minItems", 0), schema.get("maxItems")
                return f'"[" space {_list(each, low, high)} space "]"'
            case "string" if "minLength" in schema or "maxLength" in schema:
                least, most = schema.get("minLength", 0), schema.get("maxLength", "")
                return f'"\\"" char{{{least},{most}}} "\\""'
            case str(kind) if kind in PLAIN:
                return PLAIN[kind]
            case list(kinds):
                return " | ".join(self.rule({**schema, "type": kind}) for kind in kinds)
        raise _refused(f"a type, found {str(dict(schema))[:80]}")

    def _referred(self, place: str) -> str:
        if place not in self.named:
            if not place.startswith("#/"):
                raise _refused(f"references within it, found {place!r}")
            schema = self.whole
            for part in place[2:].split("/"):
                schema = schema[part]
            self.named[place] = f"root{len(self.rules)}"
            self.rule(schema, self.named[place])
        return self.named[place]

    def _object(self, schema: Mapping[str, Any]) -> str:
        if schema.get("additionalProperties", False) is not False:
            raise _refused("a closed one, found additionalProperties")
        needed = set(schema.get("required", ()))
        said = schema.get("properties", {})
        if missing := needed - set(said):
            raise _refused(f"a property {min(missing)!r}, which it requires")
        pairs = [
            (f'{_literal(name)} space ":" space {self.rule(part)}', name in needed)
            for name, part in said.items()
        ]
        return f'"{{" space {_members(pairs)} space "}}"'


def _members(pairs: Sequence[tuple[str, bool]]) -> str:
    """Return the properties in their order, those that may be missing as such."""
    # The first that is there has no comma before it: each that may be it is a choice.
    choices = []
    for first, (pair, needed) in enumerate(pairs):
        rest = "".join(
            f' "," space {later}' if must else f' ("," space {later})?'
            for later, must in pairs[first + 1 :]
        )
        choices.append(pair + rest)
        if needed:
            break
    else:
        choices.append('""')
    return f"({' | '.join(choices)})"


def _list(each: str, low: int, high: int | None) -> str:
    if high == 0:
        return '""'
    rest = f"{{{max(low - 1, 0)},{'' if high is None else high - 1}}}"
    items = f'{each} ("," space {each}){rest}'
    return items if low > 0 else f"({items})?"


def _literal(value: object) -> str:
    """Return a value as JSON has it; a letter beyond ASCII as itself or escaped."""
    written = json.dumps(value, ensure_ascii=False)
    return " ".join(
        _quoted(run) if run.isascii() else _either(run)
        for run in re.findall(r"[\0-\x7f]+|[^\0-\x7f]", written)
    )


def _either(char: str) -> str:
    escaped = _quoted(json.dumps(char)[1:-1])
    alone = "\ud800" <= char <= "\udfff"  # half of a pair, as in a path that is not UTF-8
    return escaped if alone else f"({_quoted(char)} | {escaped})"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _refused(needed: str) -> ModelError:
    return ModelError(f"cannot hold an answer to this schema: needed {needed}", "refused")
