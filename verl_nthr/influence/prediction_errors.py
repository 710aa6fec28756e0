"""Prediction errors of response tokens, block by block.

Letters at the end of a name are its axes: B runs of tokens that are padded together, L tokens of the longest run,
U vocabulary entries of the run with the most of them, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.segments import BlockSizes, TokenSegments, padded_places
from verl_nthr.influence.vocabulary import GroupVocabulary


@dataclass(frozen=True)
class Block:
    """Tokens of B runs.

    Attributes:
        tokens_BL: int64, index of the token; in the padding of a run that of its last token.
        hidden_BLD: float32.
        errors_BLU: float32, −g = π − e_y; 0 in the padding of a run, anything in the padding of U.
    """

    tokens_BL: Tensor
    hidden_BLD: Tensor
    errors_BLU: Tensor


class PredictionErrors:
    """−g_t = π_t − e_{y_t} on the vocabulary of the token's group; π is never renormalised.

    Scores are products of two errors, so the sign does not matter.
    """

    def __init__(self, features: TokenFeatures, rows: LMHeadRows, vocabulary: GroupVocabulary, order: Tensor) -> None:
        """Prepare what every block needs.

        Args:
            features: T tokens.
            rows: the LM head at least at every entry of ``vocabulary``.
            vocabulary: entries of every group, the tokens' own ids among them.
            order: [T] int64, token at each place.
        """
        self.vocabulary = vocabulary
        self._features, self._rows, self._order = features, rows, order
        self._columns = vocabulary.columns(features.group, features.token_ids)
        # π_y − 1 without cancellation where π_y is close to 1
        self._own = torch.expm1(features.log_probs)
        self._inverse_temperature = features.temperature.reciprocal()

    def entries(self, runs: TokenSegments) -> tuple[Tensor, Tensor]:
        """Positions [B, U] in the vocabulary of the runs' groups, padded; and which of them are not padding."""
        starts, sizes = self._on_device(
            [self.vocabulary.offsets[group] for group in runs.groups],
            [self.vocabulary.size(group) for group in runs.groups],
        )
        widest = max(self.vocabulary.size(group) for group in runs.groups)
        return padded_places(starts, sizes, torch.arange(widest, device=self._order.device))

    def blocks(self, runs: TokenSegments, positions: Tensor) -> Iterator[Block]:
        """Blocks of all tokens of some runs.

        Args:
            runs: B runs.
            positions: [B, U] of :meth:`entries`.
        """
        features = self._features
        weight_BUD, bias_BU = self._rows.select(self.vocabulary.token_ids(positions))
        starts, counts = self._on_device(runs.starts, runs.counts)
        longest = max(runs.counts)
        sizes = BlockSizes.for_device(self._order.device)
        step = max(sizes.block_tokens, sizes.block_elements // (len(runs) * max(weight_BUD.shape[1:])))
        for first in range(0, longest, step):
            places = torch.arange(first, min(first + step, longest), device=self._order.device)
            index, inside = padded_places(starts, counts, places)
            tokens_BL = self._order[index.clamp_max(len(features) - 1)]
            hidden_BLD = features.hidden_of(tokens_BL)
            errors_BLU = torch.bmm(hidden_BLD, weight_BUD.mT)
            if bias_BU is not None:
                errors_BLU.add_(bias_BU[:, None])
            log_normalizer = torch.where(inside, features.log_normalizer[tokens_BL], torch.inf)
            scale = self._inverse_temperature[tokens_BL][..., None]
            torch.addcmul(-log_normalizer[..., None], errors_BLU, scale, out=errors_BLU)
            errors_BLU.exp_()
            # a run without tokens reads those of another group
            columns = torch.where(inside, self._columns[tokens_BL], 0)
            own = torch.where(inside, self._own[tokens_BL], 0.0)
            errors_BLU.scatter_(2, columns[..., None], own[..., None])
            yield Block(tokens_BL, hidden_BLD, errors_BLU)

    def cross_moments(self, runs: TokenSegments, positions: Tensor, share: Tensor | None = None) -> Tensor:
        """−Σ_t w_t g_t h_tᵀ of each run: [B, U, D] float32, anything in the padding of U.

        Args:
            runs: B runs.
            positions: [B, U] of :meth:`entries`.
            share: [R] float32, w of the tokens of each response; None for 1.
        """
        total_BUD = torch.zeros(*positions.shape, self._features.hidden.shape[-1], device=positions.device)
        for block in self.blocks(runs, positions):
            if share is not None:
                block.errors_BLU.mul_(share[self._features.response[block.tokens_BL]][..., None])
            total_BUD.baddbmm_(block.errors_BLU.mT, block.hidden_BLD)
        return total_BUD

    def _on_device(self, *columns: list[int]) -> Tensor:
        return torch.tensor(columns, dtype=torch.int64, device=self._order.device)
