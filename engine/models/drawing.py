"""What a model says next: a token, drawn from what it read, such as a grammar allows."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backcast.domain.errors import ModelError
from backcast.engine.models.loaded import Loaded
from backcast.engine.models.quiet import complaint, quiet

TOP_K, TOP_P = 40, 0.95
"Of these tokens one is drawn where the temperature is above 0; else the likeliest is taken."


class Draw:
    """A sampler that draws token after token, the same ones for the same seed."""

    def __init__(self, loaded: Loaded, seed: int, temperature: float, held: Any) -> None:
        import llama_cpp as c

        self._c, self._loaded, self._held = c, loaded, held
        if temperature > 0:
            parts = [c.llama_sampler_init_top_k(TOP_K), c.llama_sampler_init_top_p(TOP_P, 1)]
            parts += [c.llama_sampler_init_temp(temperature), c.llama_sampler_init_dist(seed)]
        else:
            parts = [c.llama_sampler_init_greedy()]
        self.chain: Any = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
        for part in parts:
            c.llama_sampler_chain_add(self.chain, part)

    def __call__(self) -> int:
        """Return the next token."""
        token = int(self._c.llama_sampler_sample(self.chain, self._loaded.llm.ctx, -1))
        if self._held is None:
            return token
        # To ask the grammar of one token is much quicker than to ask it of all.
        if not self._allows(token):
            token = self._redrawn()
        self._c.llama_sampler_accept(self._held, token)
        return token

    def _allows(self, token: int) -> bool:
        data = self._c.llama_token_data(id=token, logit=1.0, p=0.0)
        array = self._c.llama_token_data_array(ctypes.pointer(data), 1, -1, False)
        self._c.llama_sampler_apply(self._held, ctypes.byref(array))
        return data.logit > 0 and token not in self._loaded.broken

    def _redrawn(self) -> int:
        import numpy as np

        c, size = self._c, self._loaded.size
        tokens = np.zeros(size, np.dtype([("id", np.intc), ("logit", np.single), ("p", np.single)]))
        tokens["id"] = np.arange(size)
        logits = c.llama_get_logits_ith(self._loaded.llm.ctx, -1)
        tokens["logit"] = np.ctypeslib.as_array(logits, (size,))
        # The grammar would take any byte for the rest of a character, a quote too.
        tokens["logit"][np.fromiter(self._loaded.broken, np.intc)] = -np.inf
        pointer = tokens.ctypes.data_as(c.llama_token_data_p)
        array = c.llama_token_data_array(pointer, size, -1, False)
        c.llama_sampler_apply(self._held, ctypes.byref(array))
        if not np.isfinite(tokens["logit"]).any():
            # llama.cpp would take any of them, and end the process.
            raise ModelError("the grammar allows none of the model's tokens", "refused")
        c.llama_sampler_apply(self.chain, ctypes.byref(array))
        return int(array.data[array.selected].id)


@contextmanager
def drawing(loaded: Loaded, grammar: str, seed: int, temperature: float) -> Iterator[Draw]:
    """What draws tokens for one answer; a `grammar` that is empty allows all."""
    import llama_cpp

    held = None
    if grammar:
        rules = grammar.encode()
        with quiet():
            held = llama_cpp.llama_sampler_init_grammar(loaded.vocabulary, rules, b"root")
        if not held:
            raise ModelError(f"needed a smaller schema: {complaint()}", "refused")
    draw = Draw(loaded, seed, temperature, held)
    try:
        yield draw
    finally:
        llama_cpp.llama_sampler_free(draw.chain)
        if held:
            llama_cpp.llama_sampler_free(held)
