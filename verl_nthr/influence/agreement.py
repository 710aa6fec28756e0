"""An error of one rank becomes an error of every rank.

While all is well the ranks exchange two numbers. Only where one has failed do they exchange its message too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

MESSAGE_LENGTH = 2000
"""Characters of a message that the other ranks get."""


class RemoteError(RuntimeError):
    """Another rank failed; the message names it, and has the type and the text of its error."""


class AgreedOutOfMemory(torch.OutOfMemoryError):
    """Device memory ran out, and nothing else went wrong; raised on every rank at once, so that all can act alike."""


def raise_together(
    error: Exception | None, groups: Sequence[dist.ProcessGroup], device: torch.device, rank: int, ranks: int
) -> None:
    """Raise on every rank if any rank has an error; a collective of all ranks.

    Args:
        error: this rank's.
        groups: the axes of the grid of ranks, each of several ranks.
        device: where collectives of the groups work.
        rank: this rank's number.
        ranks: number of all ranks, at least one above every rank's number.

    Raises:
        AgreedOutOfMemory: memory ran out wherever there is an error.
        RemoteError: this rank has no error, or one that matters less than another rank's.
        Exception: ``error``.
    """
    if error is None and not groups:
        return
    out_of_memory = isinstance(error, torch.OutOfMemoryError)
    failures = torch.tensor([error is not None, error is not None and not out_of_memory], dtype=torch.int64)
    failed, otherwise = _reduced(failures, groups, device, dist.ReduceOp.SUM).tolist()
    if not failed:
        return
    matters = error is not None and (not out_of_memory or not otherwise)
    message = _first_message(_report(error, rank, ranks) if matters else None, groups, device, rank, ranks)
    if not otherwise:
        raise AgreedOutOfMemory(message) from error
    if matters:
        raise error
    raise RemoteError(message) from error


def _first_message(
    message: str | None, groups: Sequence[dist.ProcessGroup], device: torch.device, rank: int, ranks: int
) -> str:
    """The message of the lowest of the ranks that have one."""
    first = torch.tensor([ranks if message is None else rank])
    first = int(_reduced(first, groups, device, dist.ReduceOp.MIN))
    characters = torch.zeros(MESSAGE_LENGTH, dtype=torch.int32)
    if rank == first:
        characters[: len(message)] = torch.tensor([ord(character) for character in message], dtype=torch.int32)
    return "".join(map(chr, _reduced(characters, groups, device, dist.ReduceOp.SUM).tolist())).rstrip("\0")


def _report(error: Exception, rank: int, ranks: int) -> str:
    if isinstance(error, (RemoteError, AgreedOutOfMemory)):
        return str(error)
    text = f"NTHR failed on rank {rank} of {ranks}: {type(error).__name__}: {error}"
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 1]}…"


def _reduced(
    tensor: Tensor, groups: Sequence[dist.ProcessGroup], device: torch.device, operation: dist.ReduceOp
) -> Tensor:
    tensor = tensor.to(device)
    for group in groups:
        dist.all_reduce(tensor, op=operation, group=group)
    return tensor
