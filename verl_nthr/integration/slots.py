"""Where the features of each response token are kept during a pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.sharding import Sharding

SLOT = "nthr_slot"
"""Column [B, response length], jagged, int64: slot of the token, −1 if it takes no part."""


@dataclass(frozen=True)
class TokenSlots:
    """The T tokens of a rank's batch that take part, in the order of the batch.

    Attributes:
        column: [B, response length] jagged int64, the value of :data:`SLOT`.
        token_ids: [T] int64.
        response: [T] int64, the token's response in the request.
        row: [T] int64, the token's row in the batch.
    """

    column: Tensor
    token_ids: Tensor
    response: Tensor
    row: Tensor

    @classmethod
    def of_batch(cls, responses: Tensor, response_mask: Tensor, response_of_row: Tensor) -> TokenSlots:
        """Number the tokens inside the response mask of rows whose response is not −1.

        Args:
            responses: [B, response length] jagged int64.
            response_mask: [B, response length] jagged.
            response_of_row: [B] int64.
        """
        offsets = responses.offsets()
        row = torch.repeat_interleave(torch.arange(len(response_of_row)), offsets.diff())
        kept = response_mask.values().bool() & (response_of_row[row] >= 0)
        slots = torch.where(kept, kept.cumsum(0) - 1, -1)
        return cls(
            column=torch.nested.nested_tensor_from_jagged(slots, offsets),
            token_ids=responses.values()[kept],
            response=response_of_row[row[kept]],
            row=row[kept],
        )

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def scatter(self, values: Tensor, fill: float) -> Tensor:
        """[T] values at their places in a jagged [B, response length] float32 tensor, ``fill`` elsewhere."""
        kept = self.column.values() >= 0
        flat = torch.full(kept.shape, fill, dtype=torch.float32)
        flat[kept] = values.float().cpu()
        return torch.nested.nested_tensor_from_jagged(flat, self.column.offsets())


class FeatureStore:
    """Buffers for the features of T tokens, filled slot by slot while the micro-batches pass."""

    def __init__(self, tokens: int, device: torch.device | str) -> None:
        self._hidden: Tensor | None = None
        self._log_probs = torch.full((tokens,), torch.nan, device=device)
        self._log_normalizer = torch.full((tokens,), torch.nan, device=device)
        self._written = torch.zeros(tokens, dtype=torch.bool, device=device)

    def write(self, slots: Tensor, hidden: Tensor, log_probs: Tensor, log_normalizer: Tensor) -> None:
        """Keep the features of ``slots`` [t]: hidden [t, D] in its own dtype, the others [t]."""
        if self._hidden is None:
            self._hidden = hidden.new_empty(self._log_probs.shape[0], hidden.shape[-1])
        self._hidden[slots] = hidden
        self._log_probs[slots] = log_probs.float()
        self._log_normalizer[slots] = log_normalizer.float()
        self._written[slots] = True

    def features(self, slots: TokenSlots, group: Tensor, temperature: Tensor, dim: int) -> TokenFeatures:
        """The features of all tokens.

        Args:
            slots: the layout that the buffers were filled by.
            group: [R] int64, group of each response.
            temperature: [T] float32.
            dim: D, for a rank without tokens.

        Raises:
            RuntimeError: some slots were never written.
        """
        missing = int((~self._written).sum())
        if missing:
            raise RuntimeError(f"the log-prob pass left {missing} of {len(slots)} response tokens unrecorded")
        device = self._log_probs.device
        response = slots.response.to(device)
        return TokenFeatures(
            hidden=self._log_probs.new_zeros(0, dim) if self._hidden is None else self._hidden,
            token_ids=slots.token_ids.to(device),
            log_probs=self._log_probs,
            log_normalizer=self._log_normalizer,
            temperature=temperature.to(device),
            response=response,
            group=group.to(device)[response],
        )


@dataclass
class Recording:
    """What an engine's capture writes into during one pass.

    Attributes:
        store: the features of the tokens.
        sharding: keeps errors of this rank until all ranks can raise them together.
        entries: [U] int64 ascending, vocabulary entries whose output rows are wanted; None for the whole vocabulary.
        rows: the output rows, once the first micro-batch has passed.
        seconds: host time spent on recording.
    """

    store: FeatureStore
    sharding: Sharding
    entries: Tensor | None
    rows: OutputRows | None = None
    seconds: float = 0.0

    @contextmanager
    def local_work(self) -> Iterator[None]:
        """Work of this rank alone, timed; an error is raised on every rank by the next collective."""
        start = time.perf_counter()
        with self.sharding.local_work():
            yield
        self.seconds += time.perf_counter() - start
