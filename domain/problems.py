"""What is wrong with a value that does not fit its form, in one line."""

from pydantic import ValidationError


def first_problem(error: ValidationError) -> str:
    """Return a validation error in one line: the field, what was needed, what was found."""
    problem = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, problem["loc"])) or "the whole"
    found = repr(problem["input"])
    found = "" if problem["type"] == "missing" else f", found {_short(found)}"
    return f"{field}: {problem['msg'][0].lower()}{problem['msg'][1:]}{found}"


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
