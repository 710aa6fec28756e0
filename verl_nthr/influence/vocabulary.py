"""The response vocabulary V*_x of every prompt group (arXiv 2505.18830, App. 7.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupVocabulary:
    """Which vocabulary entries the prediction errors of a group are taken on.

    With ``vocabulary="response"`` these are the unique token ids of the group's responses, with ``"full"`` all V.

    Attributes:
        keys: [N] int64, ascending, ``group * vocab_size + token`` for every entry of every group; empty if ``full``.
        offsets: G + 1 positions in ``keys`` at which the groups start and end.
        vocab_size: V.
        full: whether every group takes the whole vocabulary, or the whole of a part of it.
        start: the first entry of a part of the vocabulary.
    """

    keys: Tensor
    offsets: tuple[int, ...]
    vocab_size: int
    full: bool = False
    start: int = 0

    @classmethod
    def from_keys(cls, keys: Tensor, num_groups: int, vocab_size: int) -> GroupVocabulary:
        """From the ascending unique keys of :func:`vocabulary_keys`."""
        starts = torch.arange(num_groups + 1, device=keys.device) * vocab_size
        return cls(keys, tuple(torch.searchsorted(keys, starts).tolist()), vocab_size)

    @classmethod
    def whole(cls, num_groups: int, vocab_size: int, device: torch.device) -> GroupVocabulary:
        """All V entries for every group."""
        offsets = tuple(vocab_size * group for group in range(num_groups + 1))
        return cls(torch.zeros(0, dtype=torch.int64, device=device), offsets, vocab_size, full=True)

    def part(self, start: int, stop: int) -> GroupVocabulary:
        """The entries v of every group with start ≤ v < stop."""
        if self.full:
            offsets = tuple((stop - start) * group for group in range(self.num_groups + 1))
            return GroupVocabulary(self.keys, offsets, self.vocab_size, full=True, start=start)
        token_ids = self.keys % self.vocab_size
        keys = self.keys[(token_ids >= start) & (token_ids < stop)]
        return GroupVocabulary.from_keys(keys, self.num_groups, self.vocab_size)

    @property
    def num_groups(self) -> int:
        return len(self.offsets) - 1

    def size(self, group: int) -> int:
        """|V*_x| of the group."""
        return self.offsets[group + 1] - self.offsets[group]

    def token_ids(self, group: int) -> Tensor:
        """[|V*_x|] int64, ascending."""
        if self.full:
            return torch.arange(self.start, self.start + self.size(group), device=self.keys.device)
        return self.keys[self.offsets[group] : self.offsets[group + 1]] - group * self.vocab_size

    def locate(self, group: int, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of ``token_ids`` [T] within :meth:`token_ids`, and whether they are there at all.

        Returns:
            columns [T] int64, within 0 .. size-1 also for a token that is not there; held [T] bool.
        """
        columns = token_ids - self.start
        if not self.full:
            columns = torch.searchsorted(self.keys, token_ids + group * self.vocab_size) - self.offsets[group]
        columns = columns.clamp(0, self.size(group) - 1)
        return columns, self.token_ids(group)[columns] == token_ids


def vocabulary_keys(group: Tensor, token_ids: Tensor, vocab_size: int) -> Tensor:
    """Ascending unique ``group * vocab_size + token`` of tokens [T] and their groups [T]."""
    return torch.unique(group * vocab_size + token_ids)
