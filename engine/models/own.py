"""The profile of a model file: template, window and tokens as the file has them."""

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import NamedTuple

from backcast.domain.budget import ModelProfile, of_window
from backcast.domain.errors import InputError, ModelError
from backcast.engine.models.chat import PLAIN, SHAPES, Chat, OwnTemplate, chosen, is_own, own_of
from backcast.engine.models.jinja import CLOCK, DAY
from backcast.engine.models.loaded import ModelFile
from backcast.engine.models.places import model_file
from backcast.engine.models.templates import TEMPLATES, PromptPiece, pieces

WIDEST = 32_768
"Tokens of a window that nobody has asked for: what a model remembers of a wider one takes much."
USED = "tokenizer.chat_template"
UNTHINKING = {"qwen3": "chatml"}
"What the templates of models that can think are where they may."


class FileProfile(NamedTuple):
    """The profile of a model file, and what its user should know."""

    profile: ModelProfile
    template: str = ""
    "The template by which it is to be asked; empty for its own."
    notes: tuple[str, ...] = ()


def file_profile(
    place: str, budget: ModelProfile | None = None, template: str = "", *,
    way_out: str = "--template names another",
) -> FileProfile:  # fmt: skip
    """Return the profile of the model file at a place; `InputError` in a line where it is none.

    A `budget` gives the window and its rows. A `template`, by name, in Jinja or as a log holds it,
    is used instead of the file's own. `way_out` is what helps where that cannot be used.
    """
    path = model_file(place)
    file = ModelFile(path)
    try:
        imposed, notes = template, list[str]()
        if template:
            with suppress(InputError):  # what the file's own is does not matter then
                imposed = "" if _template(file, "")[0] == template else template
        try:
            named, kinds = _template(file, template)
        except InputError as error:
            raise InputError("; ".join(filter(None, (f"{path}: {error}", way_out)))) from None
        notes += [f"{path}: {note}" for note in kinds]
        if budget is None:
            budget = _of_window(path.name, min(file.trained, WIDEST), place)
            if file.trained > WIDEST:
                notes.append(
                    f"{path}: of its window of {file.trained:,} tokens {WIDEST:,} are used; a"
                    " --profile names more"
                )
        profile = budget._replace(template=named, tokenizer=f"gguf:{place}")
        return FileProfile(profile, imposed, tuple(notes))
    finally:
        file.llm.close()


def _template(file: ModelFile, template: str) -> tuple[str, list[str]]:
    """Return a template as a profile has it, the file's own where none is given; and notes."""
    if template in TEMPLATES:
        return template, []
    source = own_of(template).source if is_own(template) else template
    source, notes = source or file.known.get(USED, ""), []
    if not source:
        source = PLAIN
        notes.append("it has no chat template, so prompts are read as plain text")
    ends = file.name(file.llm.token_bos()), file.name(file.llm.token_eos())
    own = chosen(OwnTemplate(source, *ends, begins=file.begins), file.controls)
    if CLOCK in source:
        notes.append(f"its chat template shows a date, which is always {date(*DAY):%d %B %Y} here")
    if Chat(source, *ends, own.controls).merges:
        notes.append("its chat template takes no system text, so that begins the user's")
    return named_like(own, file.encode) or own.text, notes


def _of_window(name: str, window: int, place: str) -> ModelProfile:
    try:
        return of_window(f"gguf:{name}", window, f"gguf:{place}", "")
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def named_like(own: OwnTemplate, encode: Callable[[str, bool], list[int]]) -> str:
    """Return the name of the template that makes the same of every prompt; empty where none does.

    `encode` gives the tokens of a text, or of one with control tokens in it.
    """

    def same(name: str) -> bool:
        with suppress(InputError, ModelError):
            return all(
                _tokens(pieces(own._replace(thinks=thinks).text, shape), encode)
                == _tokens(pieces(UNTHINKING.get(name, name) if thinks else name, shape), encode)
                for shape in SHAPES
                for thinks in (False, True)
            )
        return False

    return next((name for name in sorted(TEMPLATES, reverse=True) if same(name)), "")


def _tokens(prompt: list[PromptPiece], encode: Callable[[str, bool], list[int]]) -> list[int]:
    return [token for text, control in prompt for token in encode(text, control)]
