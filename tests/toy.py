"""A toy for tests: a tiny untrained Qwen2 with a byte-level tokenizer, additions to train on, and a reward."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

CHARACTERS = "\n 0123456789+-*/=?.,:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = ("<pad>", "<unk>", "<|im_start|>", "<|im_end|>")
BYTE_LEVEL = {"\n": "Ċ", " ": "Ġ"}
"""How a byte-level tokenizer writes the characters that are not their own symbol."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

REWARD = '''\
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """The fraction of a response that is digits: not constant, even for an untrained model."""
    return sum(character.isdigit() for character in solution_str) / max(1, len(solution_str))
'''


@dataclass(frozen=True)
class ToyPaths:
    """Where :func:`make_toy` put things."""

    model: Path
    """Model and tokenizer, as ``from_pretrained`` reads them."""

    train: Path
    """Training rows in verl's format."""

    test: Path
    """Validation rows in verl's format."""

    reward: Path
    """Python file with the reward function ``compute_score``."""


def make_toy(folder: Path, rows: int = 32) -> ToyPaths:
    """Write the toy into ``folder``; the same files every time.

    Args:
        folder: where to; made if it does not exist.
        rows: training prompts.
    """
    paths = ToyPaths(folder / "model", folder / "train.parquet", folder / "test.parquet", folder / "reward.py")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(paths.model)
    make_model(tokenizer).save_pretrained(paths.model)
    additions = [_row(index, 3 * index % 100, 7 * index % 100) for index in range(rows + 8)]
    pd.DataFrame(additions[:rows]).to_parquet(paths.train)
    pd.DataFrame(additions[rows:]).to_parquet(paths.test)
    paths.reward.write_text(REWARD, encoding="utf-8")
    return paths


def make_tokenizer() -> Qwen2Tokenizer:
    """One token per character; transformers loads a Qwen2Tokenizer for a Qwen2 model whatever was saved."""
    symbols = [*SPECIAL, *(BYTE_LEVEL.get(character, character) for character in CHARACTERS)]
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


def make_model(tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """Two layers of width 64; its heads of 32 are the smallest that vLLM computes on a CPU.

    The vocabulary is exactly the tokenizer's: vLLM masks rows that stand for no token, the trained model does not.
    """
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Qwen2ForCausalLM(config)


def _row(index: int, left: int, right: int) -> dict[str, object]:
    return {
        "data_source": "toy_addition",
        "prompt": [{"role": "user", "content": f"{left}+{right}=?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(left + right)},
        "extra_info": {"index": index},
    }
