"""In place of TransferQueue and verl's trainer: one batch in this process, without transport."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tensordict import TensorDict
    from transformers import PreTrainedTokenizerBase


@dataclass
class BatchMeta:
    """What NTHR reads of ``transfer_queue.KVBatchMeta``."""

    keys: list[str]
    tags: list[dict[str, Any]]
    extra_info: dict[str, Any] = field(default_factory=dict)
    partition_id: str = "train"

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(eq=False)
class Trainer:
    """What NTHR reads of ``verl.trainer.ppo.v1.trainer_base.PPOTrainer``."""

    config: DictConfig
    global_steps: int = 0
    local_trigger_step: int = 0
    tokenizer: PreTrainedTokenizerBase | None = None


def advantage_tensors(rewards: Sequence[Tensor]) -> dict[str, Tensor]:
    """[B, L] each, what verl's advantage function has of responses with these token rewards, which it returns."""
    padded = torch.nn.utils.rnn.pad_sequence(list(rewards), batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rewards], batch_first=True)
    return {"advantages": padded, "token_level_rewards": padded, "response_mask": mask}


class Columns:
    """The functions of ``transfer_queue`` that NTHR calls, for whole batches in one order."""

    def __init__(self, meta: BatchMeta, values: dict[str, Any]) -> None:
        """Start with the columns ``values``, to which others are added."""
        self.meta, self.values = meta, values

    def kv_batch_put(self, keys: Sequence[str], partition_id: str, fields: TensorDict) -> BatchMeta:
        """Keep columns."""
        self.values.update(fields.items())
        return self.meta

    def kv_batch_get(self, keys: Sequence[str], partition_id: str, select_fields: Sequence[str]) -> TensorDict:
        """Those of the columns that are there."""
        from tensordict import TensorDict

        found = {name: self.values[name] for name in select_fields if name in self.values}
        return TensorDict(found, batch_size=len(keys))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """``import transfer_queue`` finds these functions while the context is open."""
        module = ModuleType("transfer_queue")
        module.kv_batch_put, module.kv_batch_get = self.kv_batch_put, self.kv_batch_get
        with mock.patch.dict(sys.modules, transfer_queue=module):
            yield
