"""Real model files of random weights: what they say is nonsense, how they say it is not."""

import sys
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
