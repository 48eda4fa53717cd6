"""Model files in the form that this machine reads fastest."""

import ctypes
from pathlib import Path

from backcast.domain.errors import InputError


def wide_file(path: Path, folder: Path) -> Path:
    """Return a model file with 16-bit weights, which is made once; its own where it has such.

    Its weights are the same numbers. Quantised ones are read at less than half the speed here, and
    to the byte in another way by each build; `InputError` where llama.cpp cannot make it.
    """
    import llama_cpp

    if path.stem.endswith("-bf16"):
        return path
    made = folder / f"{path.stem}-bf16.gguf"
    if made.exists():
        return made
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_BF16
    options.allow_requantize = True
    part = made.with_suffix(".part")
    failed = llama_cpp.llama_model_quantize(
        str(path).encode(), str(part).encode(), ctypes.byref(options)
    )
    if failed:
        raise InputError(f"{path}: needed a model that llama.cpp can write with 16-bit weights")
    part.rename(made)
    return made
