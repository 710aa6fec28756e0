"""What flash attention does with packed sequences, in plain torch: verl's Ulysses calls nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "varlen_on_cpu"


def install() -> None:
    """Register the attention as :data:`NAME`; verl's patch for Ulysses then calls it, not flash attention."""
    import verl.models.transformers.monkey_patch as monkey_patch
    from transformers import AttentionInterface
    from transformers.integrations import flash_attention
    from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

    monkey_patch._flash_attention_forward = forward
    AttentionInterface.register(NAME, flash_attention.flash_attention_forward)
    AttentionMaskInterface.register(NAME, flash_attention_mask)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    query_length: int,
    *args: Any,
    position_ids: Tensor,
    softmax_scale: float | None = None,
    **kwargs: Any,
) -> Tensor:
    """Causal attention within each of the sequences that ``position_ids`` [1, s] delimits; [1, s, heads, dim]."""
    groups = query.shape[2] // key.shape[2]
    key, value = key.repeat_interleave(groups, 2), value.repeat_interleave(groups, 2)
    starts = (position_ids[0] == 0).nonzero()[:, 0].tolist()
    sequences = []
    for start, stop in zip(starts, [*starts[1:], query.shape[1]], strict=True):
        heads = [part[:, start:stop].transpose(1, 2) for part in (query, key, value)]
        sequences.append(scaled_dot_product_attention(*heads, is_causal=True, scale=softmax_scale).transpose(1, 2))
    return torch.cat(sequences, dim=1)
