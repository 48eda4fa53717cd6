"""The fact that somebody rated functions by a measure of their own, for later prompts to weigh."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from backcast.domain.events import EventType, Fact
from backcast.domain.node import SYMBOLS, kind_of, name_of, path_of


def _node(node: str) -> str:
    if kind_of(node) not in SYMBOLS or not (path_of(node) and name_of(node)):
        raise PydanticCustomError("node", "needed function:PATH::NAME, or method:, class:, test:")
    return node


Rating = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]


class NodesRated(Fact):
    """A person or a program rated functions and classes: of each, how much it has of a measure."""

    type = EventType.NODES_RATED
    name: str
    "The measure: `fragility`. A policy weighs it as `rated:fragility`."
    ratings: dict[Annotated[str, AfterValidator(_node)], Rating]
    "By node; the newest rating of a node holds, and 0 takes it back."

    # Not by its type: fields whose types have limits of their own are names of texts.
    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name or name != name.strip() or not name.isprintable():
            raise PydanticCustomError("name", "needed words on a line, no blank around them")
        return name
