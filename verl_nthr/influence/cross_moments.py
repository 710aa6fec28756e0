"""M⁺ of several prompt groups in one buffer, so that one collective reduces them all."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.vocabulary import GroupVocabulary


class CrossMoments:
    """−M⁺ = −Σ_{i correct} w_i Σ_k g_{i,k} h_{i,k}ᵀ of neighbouring groups, one below the other.

    Attributes:
        groups: the groups.
        rows_ND: [entries of all of their vocabularies, D] float32.
    """

    def __init__(self, groups: range, vocabulary: GroupVocabulary, dim: int, device: torch.device) -> None:
        self.groups, self._first = groups, vocabulary.offsets[groups.start]
        self._entries = vocabulary.offsets[groups.stop] - self._first
        # the last row stands for padding
        self._buffer = torch.zeros(self._entries + 1, dim, device=device)
        self.rows_ND = self._buffer[:-1]

    def write(self, moments_BUD: Tensor, positions: Tensor, inside: Tensor) -> None:
        """Set the rows of B groups at the ``positions`` [B, U] that are ``inside`` [B, U]."""
        self._buffer.index_copy_(0, self._places(positions, inside).flatten(), moments_BUD.flatten(0, 1))
        self._buffer[-1] = 0

    def read(self, positions: Tensor, inside: Tensor) -> Tensor:
        """[B, U, D] rows of B groups, 0 where not ``inside``."""
        return self._buffer[self._places(positions, inside)]

    def _places(self, positions: Tensor, inside: Tensor) -> Tensor:
        return torch.where(inside, positions - self._first, self._entries)
