"""The demo's model: a tiny Qwen2 and a tokenizer with one token a character."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

SPECIAL_TOKENS = ("<pad>", "<unk>", "<|im_start|>", "<|im_end|>")
CHARACTERS = "\n " + string.digits + string.ascii_lowercase + string.ascii_uppercase + "+-*=?.,:;!()_"
BYTE_LEVEL = {"\n": "Ċ", " ": "Ġ"}
"""Symbols of a byte-level tokenizer for characters that are not their own symbol."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MAX_LENGTH = 256


def make_tokenizer() -> Qwen2Tokenizer:
    """A byte-level Qwen2 tokenizer without merges.

    It is built as the class that transformers 5 loads for a Qwen2 model whatever was saved, so that it is the same
    after a round trip through ``save_pretrained``. verl needs the line feed to be one token.
    """
    from transformers import Qwen2Tokenizer

    symbols = [*SPECIAL_TOKENS, *(BYTE_LEVEL.get(character, character) for character in CHARACTERS)]
    tokenizer = Qwen2Tokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)},
        merges=[],
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        bos_token=None,
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """An untrained model of 4 layers of width 128 in float32, the same for the same seed.

    Its vocabulary has exactly the tokenizer's tokens: vLLM masks the others, so that the probabilities in generation
    and in training would differ.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).float()
