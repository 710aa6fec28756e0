"""Shapes of Qwen2.5, from the models' own ``config.json``, and one small enough for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2Config


@dataclass(frozen=True)
class Shape:
    """What decides the cost of a forward pass."""

    hidden: int
    """D, size of a hidden state."""

    intermediate: int
    """Inner size of the MLPs."""

    layers: int
    heads: int
    key_value_heads: int

    tied: bool
    """Whether the output layer is the embedding."""

    vocabulary: int = 151936
    """V, rows of the output layer."""

    positions: int = 32768
    """Longest sequence."""

    def config(self) -> Qwen2Config:
        """The configuration of a model of this shape."""
        from transformers import Qwen2Config

        return Qwen2Config(
            architectures=["Qwen2ForCausalLM"],
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.positions,
            tie_word_embeddings=self.tied,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, tied=True, vocabulary=512, positions=1024),
    "qwen2.5-0.5b": Shape(896, 4864, 24, 14, 2, tied=True),
    "qwen2.5-1.5b": Shape(1536, 8960, 28, 12, 2, tied=True),
    "qwen2.5-3b": Shape(2048, 11008, 36, 16, 2, tied=True),
    "qwen2.5-7b": Shape(3584, 18944, 28, 28, 4, tied=False, vocabulary=152064),
}
