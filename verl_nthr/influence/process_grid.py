"""The ranks that a batch's tokens lie on. Tokens are all that is ever spread: each lies on exactly one rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.profiler import record_function


@dataclass(frozen=True)
class ProcessGrid:
    """Process groups of the ranks that share a batch; without arguments one process holds everything.

    Every rank must run the same collectives in the same order, whatever it holds.
    """

    tokens: dist.ProcessGroup | None = None
    """All ranks that hold tokens of the batch."""

    response: dist.ProcessGroup | None = None
    """Those ranks of ``tokens`` among which the tokens of one response may be spread; None if each response lies on one
    rank."""

    @property
    def spreads_responses(self) -> bool:
        """True if the tokens of one response may lie on several ranks."""
        return _size(self.response) > 1

    def sum_over_tokens(self, tensor: Tensor) -> None:
        """Sum a tensor over the ranks that hold tokens, in place."""
        self.start_sum_over_tokens(tensor).wait()

    def start_sum_over_tokens(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Sum:
        """Start :meth:`sum_over_tokens`; ``tensor`` holds the sum once the returned one has been waited for.

        Args:
            tensor: any shape, the same on every rank.
            dtype: in which the ranks exchange it; None for its own.
        """
        if _size(self.tokens) == 1:
            return Sum(tensor)
        with record_function("nthr.reduction"):
            sent = tensor if dtype is None else tensor.to(dtype)
            return Sum(tensor, sent, dist.all_reduce(sent, group=self.tokens, async_op=True))

    def sum_over_response(self, tensor: Tensor) -> None:
        """Sum a tensor over the ranks that hold tokens of the same responses, in place."""
        with record_function("nthr.reduction"):
            if self.spreads_responses:
                dist.all_reduce(tensor, group=self.response)

    def gather_over_response(self, tensor: Tensor) -> Tensor:
        """[ranks, ...]: a tensor of each rank that holds tokens of the same responses."""
        if not self.spreads_responses:
            return tensor[None]
        gathered = [torch.empty_like(tensor) for _ in range(_size(self.response))]
        dist.all_gather(gathered, tensor.contiguous(), group=self.response)
        return torch.stack(gathered)

    def union(self, keys: Tensor) -> Tensor:
        """Ascending unique values of the int64 ``keys`` [N_rank] of all ranks that hold tokens."""
        ranks = _size(self.tokens)
        if ranks == 1:
            return torch.unique(keys)
        counts = [torch.zeros(1, dtype=torch.int64, device=keys.device) for _ in range(ranks)]
        dist.all_gather(counts, torch.tensor([keys.numel()], device=keys.device), group=self.tokens)
        sizes = torch.cat(counts).tolist()
        padded = keys.new_zeros(max(sizes))
        padded[: keys.numel()] = keys
        gathered = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(gathered, padded, group=self.tokens)
        return torch.unique(torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)]))


@dataclass(frozen=True)
class Sum:
    """A sum that may still be under way: of ``tensor``, exchanged as ``sent``."""

    tensor: Tensor
    sent: Tensor | None = None
    work: dist.Work | None = None

    def wait(self) -> None:
        """Wait until the tensor holds the sum."""
        if self.work is None:
            return
        with record_function("nthr.reduction"):
            self.work.wait()
            if self.sent is not self.tensor:
                self.tensor.copy_(self.sent)


def _size(group: dist.ProcessGroup | None) -> int:
    return 1 if group is None else dist.get_world_size(group)
