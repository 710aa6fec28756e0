"""The response tokens that take part in a scoring pass, in the batch of a rank and in its micro-batches."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tensordict import TensorDict

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


@dataclass(frozen=True)
class MicroBatchTokens:
    """The t tokens of a micro-batch that have a slot.

    Attributes:
        slot: [t] int64.
        token_ids: [t] int64.
        position: [t] int64, place that predicts the token, in the concatenation of all sequences.
        row: [t] int64, the token's sequence.
        start: [t] int64, first place of that sequence in the concatenation.
        temperature: [t] float32.
    """

    slot: Tensor
    token_ids: Tensor
    position: Tensor
    row: Tensor
    start: Tensor
    temperature: Tensor

    @classmethod
    def of_micro_batch(cls, micro_batch: TensorDict) -> MicroBatchTokens:
        """Find them by the column :data:`SLOT` of a micro-batch with jagged ``input_ids`` and a ``temperature``."""
        input_ids, slots = micro_batch["input_ids"], micro_batch[SLOT]
        starts, lengths, slot = input_ids.offsets(), slots.offsets().diff(), slots.values()
        rows = torch.arange(len(lengths), device=slot.device)
        row = torch.repeat_interleave(rows, lengths, output_size=len(slot))
        # responses end their sequences: count the token's place from the sequence's end
        place = torch.arange(len(slot), device=slot.device) + (starts[1:] - slots.offsets()[1:])[row]
        # one wait for the device, where three masks would be three
        kept = (slot >= 0).nonzero()[:, 0]
        row, place = row[kept], place[kept]
        temperature = torch.as_tensor(micro_batch["temperature"], dtype=torch.float32, device=slot.device)
        return cls(
            slot=slot[kept],
            token_ids=input_ids.values()[place],
            position=place - 1,
            row=row,
            start=starts[row],
            temperature=temperature.expand(len(lengths))[row],
        )

    def __getitem__(self, index: Tensor | slice) -> MicroBatchTokens:
        """Some of the tokens."""
        return MicroBatchTokens(*(getattr(self, field.name)[index] for field in fields(self)))
