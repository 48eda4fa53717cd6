"""Write model files with real vocabularies and random weights: they run, and say nothing.

`tiny-mistral.gguf` has the pieces of Mistral 7B Instruct v0.3, `tiny-qwen3.gguf` the tokens of
Qwen3. Their weights come from a fixed seed: they are the same wherever they are written.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.constants import TokenType
from gguf.quants import quantize

from backcast.engine.models.templates import CHATML, MISTRAL

BLOCKS, WIDTH, HEADS, PAIRS, INNER = 2, 64, 4, 2, 128
"PAIRS: heads of keys and values."
CONTEXT = {"llama": 32_768, "qwen3": 40_960}
"What the real ones were trained for, as their files say it."
PIECES = "mistral_instruct_tokenizer_240323.model.v3"
"In mistral-common: what `mistral-v3` counts with."
FIRST_ADDED = 151_646
"The number of the first token that Qwen3's vocabulary names and that of Qwen2's file does not."
ADDED = (
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"),
    *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    *("<tool_response>", "</tool_response>", "<think>", "</think>"),
)


def main(folder: Path) -> None:
    """Write what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "ggml-vocab-qwen2.gguf"
    if not (mistral := folder / "tiny-mistral.gguf").exists():
        write(mistral, "llama", mistral_vocabulary, MISTRAL)
    if (qwen := folder / "tiny-qwen3.gguf").exists():
        return
    if vocabulary.exists():
        write(qwen, "qwen3", lambda writer: qwen_vocabulary(writer, vocabulary), CHATML)
    else:
        print(f"scripts/tiny-models: no {qwen.name}: it needs {vocabulary.name}", file=sys.stderr)


def write(
    path: Path,
    kind: str,
    vocabulary: Callable[[GGUFWriter], int],
    template: str,
    context: int | None = None,
) -> None:
    """Write a model file, whole or not at all; without a template where that is empty."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    writer = GGUFWriter(part, kind)
    writer.add_name(path.stem)
    writer.add_block_count(BLOCKS)
    writer.add_context_length(context or CONTEXT[kind])
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(PAIRS)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e6)
    size = vocabulary(writer)
    writer.add_vocab_size(size)
    if template:
        writer.add_chat_template(template)
    for name, shape in shapes(kind, size):
        add(writer, name, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def shapes(kind: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a model, by name."""
    yield "token_embd", (size, WIDTH)
    yield "output_norm", (WIDTH,)
    yield "output", (size, WIDTH)
    paired = WIDTH // HEADS * PAIRS
    for block in range(BLOCKS):
        inside: dict[str, tuple[int, ...]] = {
            "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
            "attn_k": (paired, WIDTH), "attn_v": (paired, WIDTH),
            "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
        }  # fmt: skip
        if kind == "qwen3":
            inside |= {"attn_q_norm": (WIDTH // HEADS,), "attn_k_norm": (WIDTH // HEADS,)}
        for name, shape in inside.items():
            yield f"blk.{block}.{name}", shape


def add(writer: GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
    """Add a tensor: ones where it scales, else random numbers that only its name decides."""
    if len(shape) == 1:
        writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
        return
    seed = np.frombuffer(name.encode(), np.uint8).tolist()
    weights = np.random.default_rng(seed).normal(0, 1 / WIDTH**0.5, shape).astype(np.float32)
    if shape[0] < 10_000:
        writer.add_tensor(f"{name}.weight", weights)
        return
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor(f"{name}.weight", quantize(weights, kind), raw_dtype=kind)


def mistral_vocabulary(writer: GGUFWriter) -> int:
    """Write the pieces that mistral-common has, as llama.cpp's converter does; how many."""
    import mistral_common
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor()
    model.Load(str(Path(mistral_common.__file__).parent / "data" / PIECES))
    numbers = range(model.vocab_size())

    def kind(number: int) -> TokenType:
        if model.IsUnknown(number):
            return TokenType.UNKNOWN
        if model.IsControl(number):
            return TokenType.CONTROL
        return TokenType.BYTE if model.IsByte(number) else TokenType.NORMAL

    writer.add_tokenizer_model("llama")
    tokens(writer, map(model.IdToPiece, numbers), map(kind, numbers))
    writer.add_token_scores([model.GetScore(number) for number in numbers])
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    return len(numbers)


def qwen_vocabulary(writer: GGUFWriter, path: Path) -> int:
    """Write the tokens of Qwen2 and those that Qwen3 adds; how many."""
    fields = GGUFReader(path).fields
    texts = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    kinds[FIRST_ADDED:] = [TokenType.UNUSED] * len(kinds[FIRST_ADDED:])
    for number, text in enumerate(ADDED, FIRST_ADDED):
        # So does the converter tell them, whatever Qwen's own files say of them.
        special = text.startswith("<|")
        texts[number] = text
        kinds[number] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens(writer, texts, kinds)
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    writer.add_bos_token_id(151_643)
    writer.add_eos_token_id(151_645)
    writer.add_pad_token_id(151_643)
    writer.add_add_bos_token(False)
    return len(texts)


def tokens(writer: GGUFWriter, texts: Iterable[str], kinds: Iterable[TokenType]) -> None:
    """Write what each token is."""
    writer.add_token_list(list(texts))
    writer.add_token_types([int(kind) for kind in kinds])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
