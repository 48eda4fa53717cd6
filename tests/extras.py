"""Marks of tests that need more than `scripts/install light`, and see it told in words."""

from importlib.util import find_spec

import pytest

needs_llama = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs the extra 'llama'")
needs_semantic = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="needs the extra 'semantic'"
)
