"""Collectives for prompt groups whose tokens, or whose vocabulary, lie on several ranks.

Every rank runs the same collectives in the same order, whatever it holds. Before a collective on what local work made,
and at the end, the ranks agree that all are well; an error on one rank is raised on every rank, so that nobody waits
for a rank that has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.agreement import raise_together


@dataclass(frozen=True)
class VocabularyShard:
    """The rows of the output layer that this rank owns.

    Attributes:
        start: first vocabulary entry.
        stop: one past the last vocabulary entry, at least ``start``.
        process_group: the ranks that own the other entries and hold the same tokens.
    """

    start: int
    stop: int
    process_group: dist.ProcessGroup | None


class Sharding:
    """The grid of ranks that a batch lies on; without arguments one process holds everything.

    One object serves one reduction from its first collective to its last.

    Args:
        tokens: ranks that hold disjoint tokens, and the same part of the vocabulary.
        vocabulary: this rank's part of the vocabulary; None for all of it.
        context: those ranks of ``tokens`` among which the tokens of one response may be spread; None if a response's
            tokens lie on one of them.
    """

    def __init__(
        self,
        tokens: dist.ProcessGroup | None = None,
        vocabulary: VocabularyShard | None = None,
        context: dist.ProcessGroup | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._tokens, self._context = tokens, context
        self._axes = (tokens, vocabulary.process_group if vocabulary else None)
        self._error: Exception | None = None

    @property
    def size(self) -> int:
        """Number of ranks in the grid."""
        return _size(self._axes[0]) * _size(self._axes[1])

    @property
    def spreads_responses(self) -> bool:
        """Whether the tokens of one response may lie on several ranks."""
        return _size(self._context) > 1

    @contextmanager
    def local_work(self) -> Iterator[None]:
        """Run work of this rank alone: an error is kept and raised on every rank by the next collective."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the next collective raises it
            self._error = self._error or error

    def agree(self, device: torch.device) -> None:
        """Raise on every rank if any rank has kept an error.

        Raises:
            AgreedOutOfMemory: device memory ran out wherever there is an error.
            RemoteError: another rank kept an error; the message names it.
            Exception: the error that this rank kept.
        """
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if self.size > 1 else (0, 1)
        raise_together(self._error, [group for group in self._axes if _size(group) > 1], device, rank, ranks)

    def sum_over_tokens(self, tensor: Tensor) -> None:
        """Sum a tensor of equal shapes over the ranks that hold other tokens, in place."""
        _sum(tensor, self._tokens)

    def sum_over_vocabulary(self, tensor: Tensor) -> None:
        """Sum a tensor of equal shapes over the ranks that own other vocabulary entries, in place."""
        _sum(tensor, self._axes[1])

    def sum_over_context(self, tensor: Tensor) -> None:
        """Sum a tensor of equal shapes over the ranks that hold other tokens of the same responses, in place."""
        _sum(tensor, self._context)

    def union(self, keys: Tensor) -> Tensor:
        """Ascending unique values of the int64 ``keys`` [N_rank] of all ranks that hold other tokens.

        Raises:
            Exception: as :meth:`agree`.
        """
        self.agree(keys.device)
        ranks = _size(self._tokens)
        if ranks == 1:
            return torch.unique(keys)
        counts = [torch.zeros(1, dtype=torch.int64, device=keys.device) for _ in range(ranks)]
        dist.all_gather(counts, torch.tensor([keys.numel()], device=keys.device), group=self._tokens)
        sizes = torch.cat(counts).tolist()
        padded = keys.new_zeros(max(sizes))
        padded[: keys.numel()] = keys
        gathered = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(gathered, padded, group=self._tokens)
        return torch.unique(torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)]))


def _sum(tensor: Tensor, group: dist.ProcessGroup | None) -> None:
    with record_function("nthr.reduction"):
        if _size(group) > 1:
            dist.all_reduce(tensor, group=group)


def _size(group: dist.ProcessGroup | None) -> int:
    return 1 if group is None else dist.get_world_size(group)
