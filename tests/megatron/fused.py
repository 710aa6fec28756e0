"""A torch stand-in for verl's fused cross-entropy, a Triton kernel."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, temperature: float, reduction: str, group: dist.ProcessGroup
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies [tokens], as ``verl.utils.kernel.linear_cross_entropy`` returns them."""
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
    from verl.utils.megatron.tensor_parallel import vocab_parallel_entropy

    logits = (hidden.reshape(-1, hidden.shape[-1]) @ weight.T).float() / temperature
    entropy = vocab_parallel_entropy(logits.clone())
    return -vocab_parallel_cross_entropy(logits[None], labels.view(1, -1))[0], entropy


def use_torch_cross_entropy() -> None:
    """Let verl's fused forward call the function above; not undone."""
    from verl.models.mcore import model_forward_fused

    model_forward_fused.linear_cross_entropy = linear_cross_entropy
