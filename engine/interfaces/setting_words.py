"""What each setting of a policy is, as its source says it below the setting."""

import ast
import inspect
from collections.abc import Iterator
from textwrap import dedent, wrap

from pydantic import BaseModel

WIDTH = 98
"Columns of a line of words."


def words_of(model: type[BaseModel], table: str = "") -> dict[str, str]:
    """Return the words on each setting of a model and of the tables in it, by its place.

    >>> from backcast.domain.policy import Policy
    >>> words_of(Policy)["thinking.failures"]
    'The number of failed iterations of a module from which on it thinks.'
    """
    found = {f"{table}{name}": words for name, words in _documented(model)}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= words_of(inner, f"{table}{name}.")
    return found


def comments(words: str) -> list[str]:
    """Return words as comment lines."""
    return [f"# {line}" for line in wrap(words, WIDTH)]


def _documented(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    [body] = ast.parse(dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    for setting, below in zip(body.body, body.body[1:], strict=False):
        match setting, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                yield name, " ".join(words.split())
