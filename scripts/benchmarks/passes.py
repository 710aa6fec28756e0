"""The old-log-prob pass of verl's engine over a batch: as it is, and with everything that NTHR adds to a step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.batch import Batch
from benchmarks.queue import BatchMeta, Columns, Trainer, advantage_tensors
from verl_nthr.integration.request import REQUEST, RESPONSE, SCORE, SECONDS

TEMPERATURE = 1.0


def jagged(rows: list[Tensor]) -> Tensor:
    """[B, length] of rows of their own lengths."""
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def pass_data(batch: Batch, max_token_len: int) -> Any:
    """A batch as a worker gets it for ``compute_log_prob``, before a pass that consumes it.

    Args:
        batch: the rows.
        max_token_len: tokens of a micro-batch.
    """
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    prompts, responses = ([torch.tensor(ids) for ids in rows] for rows in (batch.prompts, batch.responses))
    sequences = [torch.cat(parts) for parts in zip(prompts, responses, strict=True)]
    masks = jagged([torch.ones_like(ids) for ids in responses])
    data = TensorDict(
        {
            "input_ids": jagged(sequences),
            "position_ids": jagged([torch.arange(len(ids)) for ids in sequences]),
            "prompts": jagged(prompts),
            "responses": jagged(responses),
            "response_mask": masks,
            "loss_mask": masks,
        },
        batch_size=[len(responses)],
    )
    tu.assign_non_tensor(
        data,
        temperature=TEMPERATURE,
        calculate_entropy=True,
        use_remove_padding=True,
        use_fused_kernels=False,
        use_dynamic_bsz=True,
        max_token_len_per_gpu=max_token_len,
    )
    return data


@dataclass(frozen=True)
class Pass:
    """An engine, a batch, and how the batch is cut into micro-batches."""

    engine: Any
    batch: Batch
    max_token_len: int

    def plain(self) -> dict[str, Tensor]:
        """verl's pass: ``log_probs`` and ``entropy`` [B, length]."""
        with self.engine.eval_mode():
            return self.engine.infer_batch(pass_data(self.batch, self.max_token_len))["model_output"]


class NTHRStep:
    """The product's own functions for a step: the trainer's two overrides around the worker's scoring pass.

    Attributes:
        driver_seconds: of the last step, what was spent outside of the worker's pass.
        worker_seconds: of the last step, what NTHR itself counted inside of the worker's pass: ``nthr/seconds``.
    """

    def __init__(self, scoring: Pass, options: dict[str, Any]) -> None:
        """Prepare steps of a pass with the options ``algorithm.nthr``."""
        self.driver_seconds = self.worker_seconds = 0.0
        self._scoring, batch = scoring, scoring.batch
        algorithm = {"adv_estimator": "nthr", "nthr": options}
        config = OmegaConf.create({"algorithm": algorithm, "data": {"seed": 0}})
        self._trainer = Trainer(config)
        self._keys = [f"prompt{group}_{row}_0" for row, group in enumerate(batch.group)]
        rewards = [torch.zeros(len(response)) for response in batch.responses]
        for row, correct in zip(rewards, batch.correct, strict=True):
            row[-1] = float(correct)
        self._columns = {"rm_scores": jagged(rewards)}
        self._tensors = advantage_tensors(rewards)

    def run(self) -> Tensor:
        """Everything that NTHR adds to a step, and the pass: scores [B, response length], jagged."""
        from verl.trainer.ppo.v1 import trainer_base

        from verl_nthr.integration import trainer as nthr_trainer

        columns = Columns(BatchMeta(self._keys, [{} for _ in self._keys]), dict(self._columns))
        in_pass = 0.0

        def worker(meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
            nonlocal in_pass
            start = time.perf_counter()
            outputs = self._scored(columns.values[RESPONSE], meta.extra_info[REQUEST])
            in_pass = time.perf_counter() - start
            columns.values.update(outputs)
            return meta

        start = time.perf_counter()
        with columns.in_place():
            meta = nthr_trainer.compute_old_log_prob(worker, self._trainer, columns.meta, {})
            with mock.patch.object(trainer_base, "compute_advantage_for_multi_trajectories", lambda data, **_: data):
                nthr_trainer.compute_advantage(self._verl_advantage, self._trainer, meta, {})
        self.driver_seconds = time.perf_counter() - start - in_pass
        self.worker_seconds = float(columns.values[SECONDS].max())
        return columns.values[SCORE]

    def _verl_advantage(self, meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
        """Where verl calls the function in which the weights are applied; its own part is the plain pass's too."""
        from verl.trainer.ppo.v1 import trainer_base

        data = SimpleNamespace(batch=dict(self._tensors))
        trainer_base.compute_advantage_for_multi_trajectories(data)
        return meta

    def _scored(self, response: Tensor, request: Any) -> dict[str, Tensor]:
        from verl.utils import tensordict_utils as tu

        data = pass_data(self._scoring.batch, self._scoring.max_token_len)
        data[RESPONSE] = response
        tu.assign_non_tensor_data(data, REQUEST, request)
        with self._scoring.engine.eval_mode():
            return self._scoring.engine.infer_batch(data)["model_output"]
