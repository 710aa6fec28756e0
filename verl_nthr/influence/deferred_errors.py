"""An error of one rank becomes an error of every rank, so that no rank blocks in a collective after a peer fails.

While all is well the ranks exchange two numbers; only after a failure do they exchange its message too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

MESSAGE_LENGTH = 2000
"""Characters of a message that the other ranks get."""

Result = TypeVar("Result")


class RemoteError(RuntimeError):
    """Another rank failed; the message names it, and has the type and the text of its error."""


class AgreedOutOfMemory(torch.OutOfMemoryError):
    """Device memory ran out and nothing else went wrong. Raised on every rank at once, so that all can retry alike."""


class DeferredErrors:
    """Keeps the first error of this rank's own work until all ranks of a process group raise together.

    Args:
        group: the ranks; None for this process alone.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group if group is not None and dist.get_world_size(group) > 1 else None
        self._error: Exception | None = None

    def attempt(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Run ``work``, which contains no collective.

        After an error, and in later attempts, the result is None; :meth:`raise_together` must come before its use.
        """
        if self._error is None:
            try:
                return work(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - raise_together raises it
                self._error = error
        return None  # type: ignore[return-value]

    def raise_together(self, device: torch.device) -> None:
        """Raise on every rank if any rank has kept an error; a collective.

        Args:
            device: where collectives of the group work.

        Raises:
            AgreedOutOfMemory: memory ran out wherever there is an error.
            RemoteError: another rank has the error, or one that matters more than this rank's.
            Exception: the error that this rank kept.
        """
        error = self._error
        if error is None and self._group is None:
            return
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        flags = torch.tensor([error is not None, error is not None and not out_of_memory], dtype=torch.int64)
        failed, otherwise = self._reduced(flags, device, dist.ReduceOp.SUM).tolist()
        if not failed:
            return
        matters = error is not None and (not out_of_memory or not otherwise)
        message = self._first_message(self._report(error) if matters else None, device)
        if not otherwise:
            raise AgreedOutOfMemory(message) from error
        if matters:
            raise error
        raise RemoteError(message) from error

    def _first_message(self, message: str | None, device: torch.device) -> str:
        """The message of the lowest of the ranks that have one."""
        rank, ranks = self._rank()
        first = int(self._reduced(torch.tensor([ranks if message is None else rank]), device, dist.ReduceOp.MIN))
        characters = torch.zeros(MESSAGE_LENGTH, dtype=torch.int32)
        if rank == first:
            characters[: len(message)] = torch.tensor([ord(character) for character in message], dtype=torch.int32)
        return "".join(map(chr, self._reduced(characters, device, dist.ReduceOp.SUM).tolist())).rstrip("\0")

    def _report(self, error: Exception) -> str:
        if isinstance(error, (RemoteError, AgreedOutOfMemory)):
            return str(error)
        rank, ranks = self._rank()
        text = f"NTHR failed on rank {rank} of {ranks}: {type(error).__name__}: {error}"
        return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 1]}…"

    def _rank(self) -> tuple[int, int]:
        return (0, 1) if self._group is None else (dist.get_rank(), dist.get_world_size())

    def _reduced(self, tensor: Tensor, device: torch.device, operation: dist.ReduceOp) -> Tensor:
        tensor = tensor.to(device)
        if self._group is not None:
            dist.all_reduce(tensor, op=operation, group=self._group)
        return tensor
