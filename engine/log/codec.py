"""Facts to bytes and back: a closed registry of kinds, and upcasters for data of older versions.

A stored kind is a name and a schema version, `MODULE_ITERATION:1`. The codec never imports or runs
anything from a log: a name that is not in the registry decodes to an `UnknownFact`, as does a newer
schema version than this code knows, and both are written again as they came.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from backcast.domain.errors import InputError
from backcast.domain.events import Fact, UnknownFact, schema_of
from backcast.domain.fact_types import FACTS
from backcast.domain.problems import first_problem
from backcast.engine.log.packing import plain

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"By (type, n), the function from data of version n to data of version n + 1."

LATER: Mapping[str, frozenset[str]] = {
    "TASK_STARTED": frozenset({"spec", "context"}),
    "PLANNING_COMPLETE": frozenset({"planned"}),
    "POLICY_USED": frozenset({"policy", "profile", "model", "out"}),
    "STEP_STARTED": frozenset({
        "kind", "module_name", "iteration", "attempt", "runner", "again", "wave", "reserved",
        "alternative",
    }),
    "CONTEXT_BUILT": frozenset({"wanted", "needs", "masked", "request"}),
    "MODEL_REPLIED": frozenset({
        "thinking", "finish", "prompt_tokens", "predicted_tokens", "tokens", "cached_tokens",
        "seconds", "http_answer", "call", "module_name", "question", "answer_of",
    }),
    "MODEL_FAILED": frozenset({"kind", "http_answer", "call", "module_name"}),
    "ANSWER_REFUSED": frozenset({"call", "module_name"}),
    "TOOL_RETURNED": frozenset({"nodes", "call"}),
    "MAP_EDITED": frozenset({
        "context", "run", "used", "changed", "tags", "diagnosis", "edits", "distiller",
        "cartographer", "policy", "answers", "built_at", "anew",
    }),
    "BRANCHED": frozenset({"origin", "version", "root", "runner"}),
    "IMPORTED": frozenset({"format", "version", "earlier", "anew"}),
    "CHECKS_RAN": frozenset({
        "errors", "output", "preview", "contained", "isolation", "seconds", "coverage",
    }),
}  # fmt: skip
"""The fields that kinds got after their first release. An older log could hold a key of such a name
with a meaning of its own: a value that does not fit is put aside as foreign."""
FOREIGN = "foreign"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EXACT_AS_FLOAT = 4_000_000_000_000_000
"Below this many microseconds a float of seconds still tells every microsecond apart."


class Codec:
    """An encoder and decoder with a registry of fact types."""

    def __init__(
        self,
        facts: Mapping[str, type[Fact]] = FACTS,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        self._facts, self._upcasters = facts, upcasters
        self._decoders: dict[str, Callable[[bytes], Fact]] = {
            f"{name}:{fact.schema_version}": fact.__pydantic_validator__.validate_json
            for name, fact in facts.items()
        }
        self._encoders = {
            fact: (f"{name}:{fact.schema_version}", fact.__pydantic_serializer__.to_json)
            for name, fact in facts.items()
        }

    def encode(self, fact: Fact) -> tuple[str, bytes]:
        """Return a fact's stored kind and its data as JSON; `ValueError` if it cannot be JSON."""
        if known := self._encoders.get(type(fact)):
            topic, dump = known
            # The fact was validated: a second check of its types takes a quarter of the time.
            return topic, dump(fact, exclude_unset=True, warnings=False)
        kind = fact.kind if isinstance(fact, UnknownFact) else fact.type
        return f"{kind}:{schema_of(fact)}", to_json(fact.data, inf_nan_mode="strings")

    def decode(self, topic: str, body: bytes) -> Fact:
        """Return the stored fact, compressed or not.

        Raises `ValueError` or `InputError` if the body does not fit its kind.
        """
        decoder = self._decoders.get(topic)
        if body[:1] != b"{":  # the first byte of a fact as JSON
            body = plain(body)
        if decoder:
            with suppress(ValidationError):
                return decoder(body)
        return self._decode_other(topic, body)

    def fact(self, kind: str, schema: int, data: dict[str, Any]) -> Fact:
        """Return the fact of a kind and schema version with this data.

        Raises `InputError` naming the field if the data does not fit the kind.
        """
        if kind not in self._facts or schema > self._facts[kind].schema_version:
            return UnknownFact(kind=kind, kind_version=schema, payload=data)
        data = self._upcast(kind, schema, data)
        try:
            return self._facts[kind].model_validate(data)
        except ValidationError as error:
            odd = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
            if odd and odd <= LATER.get(kind, frozenset()) and FOREIGN not in data:
                kept = {key: value for key, value in data.items() if key not in odd}
                aside = {key: data[key] for key in data if key in odd}
                return self._facts[kind].model_validate({**kept, FOREIGN: aside})
            raise InputError(f"{kind}: {first_problem(error)}") from None

    def _decode_other(self, topic: str, body: bytes) -> Fact:
        kind, _, schema = topic.rpartition(":")
        return self.fact(kind, int(schema), from_json(body))

    def _upcast(self, kind: str, schema: int, data: dict[str, Any]) -> dict[str, Any]:
        for version in range(schema, self._facts[kind].schema_version):
            try:
                data = self._upcasters[kind, version](data)
            except Exception as error:  # one bad event never bricks a log
                raise InputError(
                    f"{kind}: cannot be read as schema version {version + 1}: {error!r}"
                ) from error
        return data


def to_microseconds(time: datetime) -> int:
    """Return whole microseconds since 1970; `ValueError` for a time without a zone."""
    if time.tzinfo is None:
        raise ValueError(f"needed a time with a zone, found {time.isoformat()}")
    return (time - EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the time, in UTC."""
    if 0 <= microseconds < _EXACT_AS_FLOAT:
        return datetime.fromtimestamp(microseconds / 1e6, UTC)
    return EPOCH + timedelta(microseconds=microseconds)
