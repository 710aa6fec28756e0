"""Batches as verl's trainer makes them: padding rows take no part, and the last output of a session speaks for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from verl_nthr.integration.config.options import NTHROptions
from verl_nthr.integration.driver.groups import read_groups

REWARDS = {"a_0_0": 0.0, "b_0_0": 1.0, "a_1_0": 0.0, "a_0_1": 1.0, "b_1_0": 1.0}
"""By TransferQueue key; a colocated reward model judges every output of a session by itself."""

EOS = 3


class Queue:
    """TransferQueue's store, in this process."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def kv_batch_put(self, keys: list[str], partition_id: str, fields: Any, tags: Any = None) -> Any:
        from transfer_queue import KVBatchMeta

        for i, key in enumerate(keys):
            self.rows[key] = self.rows.get(key, {}) | dict(fields[i].items())
        stored = list(self.rows[keys[0]])
        return KVBatchMeta(keys=keys, tags=tags or [{} for _ in keys], partition_id=partition_id, fields=stored)

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str] | None = None) -> Any:
        from verl.utils.tensordict_utils import list_of_dict_to_tensordict

        names = select_fields or list(self.rows[keys[0]])
        return list_of_dict_to_tensordict([{name: self.rows[key][name] for name in names} for key in keys])


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A batch in a TransferQueue, as its ``KVBatchMeta``."""
    import transfer_queue
    from transfer_queue import KVBatchMeta
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    queue = Queue()
    monkeypatch.setattr(transfer_queue, "kv_batch_get", queue.kv_batch_get)
    monkeypatch.setattr(transfer_queue, "kv_batch_put", queue.kv_batch_put)
    rows = [
        {
            "prompts": torch.tensor([5, 6]),
            "responses": torch.tensor([7, 8]),
            "response_mask": torch.tensor([1, 1]),
            "rm_scores": torch.tensor([0.0, reward]),
            "extra_fields": {"reward_extra_info": {"acc": reward}},
        }
        for reward in REWARDS.values()
    ]
    queue.kv_batch_put(list(REWARDS), "train", list_of_dict_to_tensordict(rows))
    return KVBatchMeta(keys=list(REWARDS), tags=[{"status": "success"} for _ in REWARDS], partition_id="train")


@pytest.mark.covers("training: upsampled padding rows", "training: several outputs a session")
@pytest.mark.parametrize("metric", ["reward", "acc"])
def test_padding_rows_take_no_part_and_the_last_output_decides(batch: Any, metric: str) -> None:
    from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size

    batch = upsample_batch_to_divisible_size(batch, 4, EOS)
    order = [6, 0, 1, 5, 3, 2, 7, 4]
    batch.reorder(order)
    groups = read_groups(batch, NTHROptions(metric=metric))
    assert [key.startswith("pad") for key in batch.keys] == [row >= len(REWARDS) for row in order]
    assert groups.response.tolist() == [-1, 0, -1, -1, 0, 1, -1, -1]
    assert groups.correct.tolist() == [True, False]
    assert groups.row_correct.tolist() == [False, True, True, False, True, False, False, True]
    assert [None if math.isnan(p) else p for p in groups.success_rate] == [None, 0.5, 1.0, None, 0.5, 0.5, None, 1.0]
    assert (groups.num_groups, groups.num_mixed) == (2, 1)
