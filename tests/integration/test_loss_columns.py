"""What the trainer tells the workers for the actor's update, and for that alone: correct and preserved rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.integration.test_options import stock
from tests.integration.test_verl_batches import Queue
from verl_nthr.integration.config.loss_options import LOSS_TERMS, POLICY_LOSS, PRESERVED, LossTerms
from verl_nthr.integration.config.validation import OWN_CLASS
from verl_nthr.integration.protocol import CORRECT

LLDS = [f"{POLICY_LOSS}._target_={OWN_CLASS}", f"+{POLICY_LOSS}.llds_coef=0.1"]
METRICS = {"actor/llds_loss": [0.5], "mfu": [1.0]}

# TransferQueue's key: reward, base advantage, advantage after token weights
ROWS = {
    "a_0_0": (1.0, 1.5, 1.5),
    "a_1_0": (0.0, -0.5, -0.0),  # spared by a weight of 0
    "b_0_0": (0.0, 0.0, 0.0),
    "b_1_0": (0.0, 0.0, 0.0),
    "c_0_0": (1.0, -0.1, -0.1),
    "pad_0_0": (1.0, 1.0, 1.0),
}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A TransferQueue with :data:`ROWS`; the first token of a row is outside the mask."""
    import transfer_queue
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    queue = Queue()
    monkeypatch.setattr(transfer_queue, "kv_batch_get", queue.kv_batch_get)
    monkeypatch.setattr(transfer_queue, "kv_batch_put", queue.kv_batch_put)
    rows = [
        {
            "response_mask": torch.tensor([0, 1, 1]),
            "rm_scores": torch.tensor([0.0, 0.0, reward]),
            "returns": torch.tensor([torch.nan, base, base]),
            "advantages": torch.tensor([torch.nan, weighted, weighted]),
        }
        for reward, base, weighted in ROWS.values()
    ]
    queue.kv_batch_put(list(ROWS), "train", list_of_dict_to_tensordict(rows))
    return queue


def update(worker: Any, *overrides: str) -> tuple[Any, dict[str, Any]]:
    """verl's update of the actor with ``worker`` for its workers: the batch and the metrics."""
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    tags = [{"is_padding": key.startswith("pad")} for key in ROWS]
    # as verl's advantages leave it: workers get these fields, and no others
    fields = ["response_mask", "rm_scores", "returns", "advantages"]
    batch = KVBatchMeta(keys=list(ROWS), tags=tags, partition_id="train", fields=fields)
    workers = SimpleNamespace(update_actor=worker)
    trainer = SimpleNamespace(config=stock(*overrides), actor_rollout_wg=workers, global_steps=1)
    metrics: dict[str, Any] = {}
    update_actor = vars(PPOTrainer)["_update_actor"].__get__(trainer, PPOTrainer)
    return update_actor(batch, metrics=metrics), metrics


def column(queue: Queue, name: str) -> list[bool]:
    return [bool(row[name]) for row in queue.rows.values()]


@pytest.mark.parametrize(
    ("estimator", "preserved"),
    [("nthr", [True, False, True, True, False, False]), ("grpo", [True, True, True, True, False, False])],
)
def test_workers_get_correct_and_preserved_rows(queue: Queue, estimator: str, preserved: list[bool]) -> None:
    seen = []

    def worker(batch: Any) -> dict[str, Any]:
        seen.append(batch.extra_info[LOSS_TERMS])
        assert set(batch.fields) >= {CORRECT, PRESERVED, "returns"}
        return {"metrics": dict(METRICS)}

    batch, metrics = update(worker, *LLDS, f"algorithm.adv_estimator={estimator}")
    assert column(queue, CORRECT) == [True, False, False, False, True, False]
    assert column(queue, PRESERVED) == preserved
    assert seen == [LossTerms(llds_coef=0.1)]
    assert LOSS_TERMS not in batch.extra_info
    assert metrics["actor/llds_loss"] == 0.5


def test_an_update_without_terms_is_verls(queue: Queue) -> None:
    seen = []

    def worker(batch: Any) -> dict[str, Any]:
        seen.append(set(batch.extra_info))
        return {"metrics": {"mfu": [1.0]}}

    update(worker, f"{POLICY_LOSS}._target_={OWN_CLASS}", f"+{POLICY_LOSS}.llds_coef=0")
    update(worker)
    assert seen[0] == seen[1]
    assert LOSS_TERMS not in seen[0]
    assert not any(CORRECT in row or PRESERVED in row for row in queue.rows.values())


def test_workers_that_add_no_term_are_noticed(queue: Queue) -> None:
    with pytest.raises(RuntimeError, match="the workers added no loss term: they ran without verl-nthr"):
        update(lambda batch: {"metrics": {"mfu": [1.0]}}, *LLDS)


def test_the_correct_rows_are_those_of_the_run(queue: Queue) -> None:
    update(lambda batch: {"metrics": dict(METRICS)}, *LLDS, "+algorithm.nthr.reward_threshold=0")
    assert column(queue, CORRECT) == [True, True, True, True, True, False]
