"""Collectives for prompt groups whose tokens lie on several ranks.

Every rank runs the same collectives in the same order, whatever it holds. An error on one rank travels with the next
collective and is raised on every rank, so that nobody waits for a rank that has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


class TokenSharding:
    """The ranks of ``process_group`` hold disjoint tokens of the same batch; None means one process holds them all.

    One object serves one reduction from its first collective to its last.
    """

    def __init__(self, process_group: dist.ProcessGroup | None = None) -> None:
        self.process_group = process_group
        self._error: Exception | None = None

    @property
    def size(self) -> int:
        """Number of ranks."""
        return 1 if self.process_group is None else dist.get_world_size(self.process_group)

    @contextmanager
    def local_work(self) -> Iterator[None]:
        """Run work of this rank alone: an error is kept and raised on every rank by the next collective.

        With one process the error is raised at once.
        """
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            self._error = self._error or error

    def agree(self, device: torch.device) -> None:
        """Raise on every rank if any rank has kept an error.

        Raises:
            Exception: the error that this rank kept, or RuntimeError if another rank kept one.
        """
        self.sum(torch.zeros(0, device=device))

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """All-reduce float32 tensors of equal shapes on every rank by summation, as one flat buffer.

        Raises:
            Exception: as :meth:`agree`.
        """
        if self.size == 1:
            return tensors
        flag = tensors[0].new_full((1,), float(self._error is not None))
        flat = torch.cat([*(tensor.reshape(-1) for tensor in tensors), flag])
        dist.all_reduce(flat, group=self.process_group)
        self._agree(int(flat[-1].item()))
        parts = flat[:-1].split([tensor.numel() for tensor in tensors])
        return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))

    def union(self, keys: Tensor) -> Tensor:
        """Ascending unique values of the int64 ``keys`` [N_rank] of all ranks.

        Raises:
            Exception: as :meth:`agree`.
        """
        if self.size == 1:
            return torch.unique(keys)
        mine = torch.tensor([keys.numel(), int(self._error is not None)], device=keys.device)
        counts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(counts, mine, group=self.process_group)
        sizes, failures = torch.stack(counts).T.tolist()
        self._agree(sum(failures))
        padded = keys.new_zeros(max(sizes))
        padded[: keys.numel()] = keys
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded, group=self.process_group)
        return torch.unique(torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)]))

    def _agree(self, failures: int) -> None:
        if not failures:
            return
        if self._error is not None:
            raise self._error
        raise RuntimeError(f"NTHR failed on {failures} other rank(s) of {self.size}; their logs hold the error")
