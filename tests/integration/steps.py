"""The driver's part of a step: verl's own ``_compute_advantage`` around this package's, on a store in this process."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.step import Trainer

KEYS = ["a_0_0", "b_0_0", "a_1_0", "c_0_0", "a_2_0", "b_1_0", "c_1_0", "b_2_0", "a_3_0", "c_2_0", "pad_0_0", "pad_1_0"]
"""Rows in the order that ranks hold them; group c is all wrong."""

CORRECT = ("a_0_0", "a_3_0", "b_1_0")
LENGTHS = [4, 3, 2, 5, 1, 4, 2, 3, 5, 1, 1, 1]


class Tokenizer:
    """Spells a token as ``<id>``."""

    def decode(self, ids: list[int]) -> str:
        return "".join(f"<{token}>" for token in ids)


@dataclass
class StepBatch:
    """Columns of a batch, row by row."""

    rows: dict[str, dict[str, Any]]

    @classmethod
    def sound(cls) -> StepBatch:
        """Two mixed groups with scores on both sides of τ, one without a correct response, and a padding row."""
        rng = torch.Generator().manual_seed(0)
        rows = {}
        for key, length in zip(KEYS, LENGTHS, strict=True):
            uid = key[: key.index("_")]
            inside, mixed = uid != "pad", uid in "ab"
            reward = torch.zeros(length)
            reward[-1] = float(key in CORRECT)
            rows[key] = {
                "uid": uid,
                "prompts": torch.tensor([1, 2]),
                "responses": torch.randint(3, 9, (length,), generator=rng),
                "response_mask": torch.full((length,), int(inside)),
                "rm_scores": reward,
                "old_log_probs": -torch.rand(length, generator=rng),
                "entropy": torch.rand(length, generator=rng),
                "extra_fields": {"reward_extra_info": {"acc": float(reward.sum())}},
                "nthr_score": torch.randn(length, generator=rng) if mixed else torch.full((length,), torch.nan),
                "nthr_anchor": torch.tensor({"a": 0.1, "b": -0.2}[uid] if key in CORRECT else torch.nan),
                "nthr_seconds": torch.tensor(0.5),
            }
        return cls(rows)

    def without(self, *keys: str) -> StepBatch:
        """All other rows."""
        return StepBatch({key: row for key, row in self.rows.items() if key not in keys})

    def keys_of(self, uid: str) -> list[str]:
        """The rows of a prompt group."""
        return [key for key in self.rows if key.startswith(f"{uid}_")]

    def advantages(
        self,
        estimator: str = "nthr",
        *,
        use_verl: bool = False,
        step: int = 1,
        loss_denominator: str = "kept_tokens",
        warned: set[str] | None = None,
        **options: Any,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """By row the advantages that the step leaves in the store, and the step's metrics.

        Args:
            estimator: ``algorithm.adv_estimator``.
            use_verl: let verl compute, without this package.
            step: the training step.
            warned: kinds of numbers that the run has warned of.
            loss_denominator: ``algorithm.loss_denominator``.
            **options: ``algorithm.nthr``.
        """
        import transfer_queue
        from omegaconf import OmegaConf
        from transfer_queue import KVBatchMeta
        from verl.trainer.ppo.v1.trainer_base import PPOTrainer

        from verl_nthr.integration.driver.run_state import run_state
        from verl_nthr.integration.driver.trainer import compute_advantage

        algorithm = {"adv_estimator": estimator, "use_kl_in_reward": False, "gamma": 1.0, "lam": 1.0}
        algorithm |= {"nthr": options, "loss_denominator": loss_denominator}
        actor = {"rollout": {"n": 4}, "actor": {"loss_agg_mode": "token-mean"}}
        config = OmegaConf.create({"algorithm": algorithm, "actor_rollout_ref": actor, "data": {"seed": 7}})
        trainer = Trainer(config, step, tokenizer=Tokenizer())
        if warned is not None:
            run_state(trainer).warned = warned
        store = _Store(copy.deepcopy(self.rows))
        tags = [{"is_padding": key.startswith("pad")} for key in self.rows]
        batch = KVBatchMeta(keys=list(self.rows), tags=tags, partition_id="train")
        metrics: dict[str, float] = {}

        def of_verl(batch: KVBatchMeta, metrics: dict[str, float]) -> KVBatchMeta:
            return inspect.unwrap(PPOTrainer._compute_advantage)(trainer, batch, metrics)

        with (
            mock.patch.object(transfer_queue, "kv_batch_get", store.get),
            mock.patch.object(transfer_queue, "kv_batch_put", store.put),
        ):
            if use_verl:
                of_verl(batch, metrics)
            else:
                compute_advantage(of_verl, trainer, batch, metrics)
        return {key: row["advantages"] for key, row in store.rows.items()}, metrics


class _Store:
    """TransferQueue's."""

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        self.rows = rows

    def put(self, keys: list[str], partition_id: str, fields: Any) -> Any:
        from transfer_queue import KVBatchMeta

        for i, key in enumerate(keys):
            self.rows[key] |= dict(fields[i].items())
        return KVBatchMeta(keys=keys, tags=[{} for _ in keys], partition_id=partition_id)

    def get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> Any:
        from verl.utils.tensordict_utils import list_of_dict_to_tensordict

        names = [name for name in select_fields if name in self.rows[keys[0]]]
        return list_of_dict_to_tensordict([{name: self.rows[key][name] for name in names} for key in keys])
