"""Plain torch layers in place of Transformer Engine's, which need CUDA; the same parameter names."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.models.backends import LocalSpecProvider
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.tensor_parallel.layers import ColumnParallelLinear
from megatron.core.transformer import transformer_block
from megatron.core.transformer.module import MegatronModule
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather


def use_torch_layers() -> None:
    """Let models that ask for Transformer Engine be built of the layers below; not undone."""
    gpt_layer_specs.TESpecProvider = TorchSpecProvider
    gpt_layer_specs.TENorm = RMSNorm
    transformer_block.LayerNormImpl = RMSNorm


def norm_weight(config: Any, size: int) -> nn.Parameter:
    """Weight of a norm; under sequence parallelism each rank has the gradient of its part, and megatron-core sums."""
    weight = nn.Parameter(torch.ones(size, dtype=config.params_dtype))
    weight.sequence_parallel = config.sequence_parallel
    return weight


class RMSNorm(nn.Module):
    """For ``TENorm``; megatron-core's own torch norm refuses sequence parallelism."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = norm_weight(config, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, hidden.shape[-1:], self.weight, self.eps)


class NormColumnParallelLinear(ColumnParallelLinear):
    """For ``TELayerNormColumnParallelLinear``."""

    def __init__(self, input_size: int, output_size: int, *, config: Any, **kwargs: Any) -> None:
        super().__init__(input_size, output_size, config=config, **kwargs)
        self.eps = config.layernorm_epsilon
        self.layer_norm_weight = norm_weight(config, input_size)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        normed = F.rms_norm(hidden, hidden.shape[-1:], self.layer_norm_weight, self.eps)
        return super().forward(normed, *args, **kwargs)


class CoreAttention(MegatronModule):
    """For ``TEDotProductAttention``: causal attention, packed [t, heads, d] or padded [s, b, heads, d].

    Under context parallelism every rank gathers the whole sequences and keeps its own part of the result.
    """

    def __init__(self, config: Any, *_: Any, softmax_scale: float | None = None, **__: Any) -> None:
        super().__init__(config=config)
        self.scale = softmax_scale

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *_: Any, packed_seq_params: Any = None, **__: Any
    ) -> Tensor:
        if packed_seq_params is not None:
            ends = packed_seq_params.cu_seqlens_q_padded.tolist()
            return self._attend(query, key, value, ends).flatten(1)
        length = query.shape[0] * parallel_state.get_context_parallel_world_size()
        rows = [
            self._attend(q, k, v, [0, length]).flatten(1)
            for q, k, v in zip(query.unbind(1), key.unbind(1), value.unbind(1), strict=True)
        ]
        return torch.stack(rows, dim=1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, ends: list[int]) -> Tensor:
        """[t, heads, d] of sequences that end, all ranks taken together, at ``ends[1:]``."""
        repeats = query.shape[1] // key.shape[1]
        whole = [
            _gather_zigzag(states, ends)
            for states in (query, key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1))
        ]
        answers = []
        for start, end in itertools.pairwise(ends):
            q, k, v = (states[start:end].transpose(0, 1) for states in whole)
            answers.append(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale).transpose(0, 1))
        return _own_zigzag(torch.cat(answers), ends)


class TorchSpecProvider(LocalSpecProvider):
    """For ``TESpecProvider``."""

    def fuse_layernorm_and_linear(self) -> bool:
        return True

    def column_parallel_layer_norm_linear(self) -> type:
        return NormColumnParallelLinear

    def layer_norm(self, rms_norm: bool = False, for_qk: bool = False) -> type:
        return RMSNorm

    def core_attention(self) -> type:
        return CoreAttention


def _gather_zigzag(states: Tensor, ends: list[int]) -> Tensor:
    """Whole sequences from the parts of all context-parallel ranks: r of n holds chunks r and 2n − 1 − r of each."""
    group = parallel_state.get_context_parallel_group()
    if group.size() == 1:
        return states
    parts = all_gather(states.contiguous(), group=group)
    sequences = []
    for start, end in itertools.pairwise(ends):
        first, last = start // group.size(), end // group.size()
        middle = (first + last) // 2
        sequences += [part[first:middle] for part in parts] + [part[middle:last] for part in reversed(parts)]
    return torch.cat(sequences)


def _own_zigzag(states: Tensor, ends: list[int]) -> Tensor:
    """This rank's parts of whole sequences."""
    group = parallel_state.get_context_parallel_group()
    if group.size() == 1:
        return states
    parts = []
    for start, end in itertools.pairwise(ends):
        chunks = states[start:end].chunk(2 * group.size())
        parts += [chunks[group.rank()], chunks[2 * group.size() - 1 - group.rank()]]
    return torch.cat(parts)
