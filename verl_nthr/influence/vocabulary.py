"""The response vocabulary V*_x of every prompt group (arXiv 2505.18830, App. 7.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupVocabulary:
    """Vocabulary entries on which the prediction errors of each group are taken.

    With ``vocabulary="response"`` these are the unique token ids of the group's responses, with ``"full"`` all V.

    Attributes:
        keys: [N] int64, ascending, ``group * vocab_size + token`` for every entry of every group; empty if ``full``.
        offsets: G + 1 positions in ``keys`` at which the groups start and end.
        vocab_size: V.
        full: whether every group takes the whole vocabulary.
    """

    keys: Tensor
    offsets: tuple[int, ...]
    vocab_size: int
    full: bool = False

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

    @property
    def num_groups(self) -> int:
        return len(self.offsets) - 1

    def size(self, group: int) -> int:
        """|V*_x| of the group."""
        return self.offsets[group + 1] - self.offsets[group]

    def unique_token_ids(self) -> Tensor | None:
        """[U] int64 ascending, entries of any group; None if all V are."""
        return None if self.full else torch.unique(self.keys % self.vocab_size)

    def token_ids(self, positions: Tensor) -> Tensor:
        """The token id, int64, of every entry of all groups, given by its position in 0 .. ``offsets[-1]`` − 1."""
        return positions % self.vocab_size if self.full else self.keys[positions] % self.vocab_size

    def columns(self, group: Tensor, token_ids: Tensor) -> Tensor:
        """[T] int64: place of tokens [T] among the entries of their groups [T], which hold them."""
        if self.full:
            return token_ids
        first = torch.tensor(self.offsets, device=self.keys.device)[group]
        return torch.searchsorted(self.keys, group * self.vocab_size + token_ids) - first


def vocabulary_keys(group: Tensor, token_ids: Tensor, vocab_size: int) -> Tensor:
    """Ascending unique ``group * vocab_size + token`` of tokens [T] and their groups [T]."""
    return torch.unique(group * vocab_size + token_ids)
