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

    def token_ids(self, positions: Tensor) -> Tensor:
        """The token id, int64, of every entry of all groups, given by its position in 0 .. ``offsets[-1]`` − 1."""
        if self.full:
            return self.start + positions % self.size(0)
        return self.keys[positions] % self.vocab_size

    def locate(self, group: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where tokens stand among the entries of their groups, and whether they are there at all.

        Args:
            group: [T] int64.
            token_ids: [T] int64.

        Returns:
            columns [T] int64, counted from the group's first entry, and 0 for a token that is not there; held [T] bool.
        """
        if self.full:
            columns = token_ids - self.start
            held = (columns >= 0) & (columns < self.offsets[-1] // max(1, self.num_groups))
        else:
            keys = group * self.vocab_size + token_ids
            columns = torch.searchsorted(self.keys, keys)
            held = torch.cat([self.keys, keys.new_tensor([-1])])[columns] == keys
            columns = columns - torch.tensor(self.offsets, device=keys.device)[group]
        return torch.where(held, columns, 0), held


def vocabulary_keys(group: Tensor, token_ids: Tensor, vocab_size: int) -> Tensor:
    """Ascending unique ``group * vocab_size + token`` of tokens [T] and their groups [T]."""
    return torch.unique(group * vocab_size + token_ids)
