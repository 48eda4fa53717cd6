"""Values as JSON that every reader takes."""

import json
from typing import Any

from pydantic_core import from_json, to_json


def json_text(value: Any) -> str:
    """Return a value as one line of JSON; numbers that JSON does not have become texts.

    >>> json_text({"score": float("nan"), "at most": [float("-inf")]})
    '{"score": "NaN", "at most": ["-Infinity"]}'
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        value = from_json(to_json(value, inf_nan_mode="strings"))
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
