"""Prediction errors of response tokens, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.segments import Segments, limits_of, padded_places
from verl_nthr.influence.vocabulary import GroupVocabulary


@dataclass(frozen=True)
class Block:
    """Tokens of S runs; axis t runs over places of a run, V over the entries of the run with the most of them.

    Attributes:
        tokens: [S, t] int64, index of the token; in the padding of a run that of its last token.
        hidden: [S, t, D] float32.
        errors: [S, t, V] float32, −g = π − e_y; 0 in the padding of a run, anything in the padding of V.
    """

    tokens: Tensor
    hidden: Tensor
    errors: Tensor


class PredictionErrors:
    """−g_t = π_t − e_{y_t} on the vocabulary of the token's group; π is never renormalised.

    Scores are products of two errors, so that the sign does not matter.
    """

    def __init__(self, features: TokenFeatures, rows: OutputRows, vocabulary: GroupVocabulary, order: Tensor) -> None:
        """Prepare what every block needs.

        Args:
            features: T tokens.
            rows: the output layer at least at every entry of ``vocabulary``.
            vocabulary: the entries that this rank owns.
            order: [T] int64, token at each place.
        """
        self.vocabulary = vocabulary
        self._features, self._rows, self._order = features, rows, order
        self._column, self._held = vocabulary.locate(features.group, features.token_ids)
        # π_y − 1 without cancellation where π_y is close to 1
        self._own = torch.expm1(features.log_probs)
        self._inverse_temperature = features.temperature.reciprocal()

    def entries(self, runs: Segments) -> tuple[Tensor, Tensor]:
        """Positions [S, V] in the vocabulary of the runs' groups, padded; and which of them are no padding."""
        starts, sizes = self._on_device(
            [self.vocabulary.offsets[group] for group in runs.groups],
            [self.vocabulary.size(group) for group in runs.groups],
        )
        widest = max(self.vocabulary.size(group) for group in runs.groups)
        return padded_places(starts, sizes, torch.arange(widest, device=self._order.device))

    def blocks(self, runs: Segments, positions: Tensor) -> Iterator[Block]:
        """Blocks of all tokens of some runs.

        Args:
            runs: S runs.
            positions: [S, V] of :meth:`entries`.
        """
        features = self._features
        weight_SVD, bias_SV = self._rows.select(self.vocabulary.token_ids(positions))
        starts, counts = self._on_device(runs.starts, runs.counts)
        longest = max(runs.counts)
        limits = limits_of(self._order.device)
        step = max(limits.block_tokens, limits.block_elements // (len(runs) * max(weight_SVD.shape[1:])))
        for first in range(0, longest, step):
            places = torch.arange(first, min(first + step, longest), device=self._order.device)
            index, inside = padded_places(starts, counts, places)
            tokens = self._order[index.clamp_max(len(features) - 1)]
            hidden_StD = features.hidden_of(tokens)
            errors = torch.bmm(hidden_StD, weight_SVD.mT)
            if bias_SV is not None:
                errors.add_(bias_SV[:, None])
            log_normalizer = torch.where(inside, features.log_normalizer[tokens], torch.inf)
            torch.addcmul(-log_normalizer[..., None], errors, self._inverse_temperature[tokens][..., None], out=errors)
            errors.exp_()
            column = self._column[tokens][..., None]
            held = (inside & self._held[tokens])[..., None]
            errors.scatter_(2, column, torch.where(held, self._own[tokens][..., None], errors.gather(2, column)))
            yield Block(tokens, hidden_StD, errors)

    def outer_products(self, runs: Segments, positions: Tensor, share: Tensor | None = None) -> Tensor:
        """−Σ_t w_t g_t h_tᵀ of each run: [S, V, D] float32, anything in the padding of V.

        Args:
            runs: S runs.
            positions: [S, V] of :meth:`entries`.
            share: [R] float32, w of the tokens of each response; None for 1.
        """
        total_SVD = torch.zeros(*positions.shape, self._features.hidden.shape[-1], device=positions.device)
        for block in self.blocks(runs, positions):
            if share is not None:
                block.errors.mul_(share[self._features.response[block.tokens]][..., None])
            total_SVD.baddbmm_(block.errors.mT, block.hidden)
        return total_SVD

    def _on_device(self, *columns: list[int]) -> Tensor:
        return torch.tensor(columns, dtype=torch.int64, device=self._order.device)
