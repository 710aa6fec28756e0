"""A random batch, verl's old-log-prob pass over it, and everything that NTHR adds to such a step.

The only contact of the benchmarks with :mod:`verl_nthr.integration`. TransferQueue and verl's trainer are replaced by
objects of this process, so that transport is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from verl_nthr.integration.protocol import REQUEST, RESPONSE, SCORE, SECONDS

TEMPERATURE = 1.0
ZIPF_EXPONENT = 1.3
"""Token frequencies fall as rank^−1.3: 8 responses of 1000 tokens then have about 1500 different ones."""


@dataclass(frozen=True)
class Batch:
    """B rows; those of a group are apart, as verl's balancing leaves them."""

    prompts: list[Tensor]
    responses: list[Tensor]

    group: list[int]
    """Prompt group of each row."""

    correct: list[bool]
    """Every group has both."""

    @property
    def response_tokens(self) -> int:
        return sum(map(len, self.responses))

    @property
    def tokens(self) -> int:
        """Prompt and response tokens."""
        return sum(map(len, self.prompts)) + self.response_tokens

    def entries_per_group(self) -> float:
        """Mean |V*|: different tokens in the responses of a group."""
        pairs = {
            (group, token) for group, ids in zip(self.group, self.responses, strict=True) for token in ids.tolist()
        }
        return len(pairs) / len(set(self.group))


def make_batch(groups: int, rollouts: int, response: int, prompt: int, vocabulary: int, seed: int = 0) -> Batch:
    """Draw a batch in which every group is mixed, so that every response token is scored.

    Args:
        groups: prompts.
        rollouts: responses per prompt, at least 2.
        response: tokens of the longest response; lengths are uniform from a quarter of it.
        prompt: tokens of the longest prompt; lengths are uniform from a half of it.
        vocabulary: V.
        seed: of everything.
    """
    rng = torch.Generator().manual_seed(seed)
    frequencies = (torch.randperm(vocabulary, generator=rng) + 1).double() ** -ZIPF_EXPONENT

    def draw(low: int, high: int) -> Tensor:
        length = int(torch.randint(low, high + 1, (1,), generator=rng))
        return torch.multinomial(frequencies, length, replacement=True, generator=rng)

    prompts = [draw(max(1, prompt // 2), prompt) for _ in range(groups)]
    order = torch.randperm(groups * rollouts, generator=rng).tolist()
    return Batch(
        prompts=[prompts[place // rollouts] for place in order],
        responses=[draw(max(1, response // 4), response) for _ in order],
        group=[place // rollouts for place in order],
        correct=[place % rollouts % 2 == 0 for place in order],
    )


def jagged(rows: Sequence[Tensor]) -> Tensor:
    """[B, length] of rows of their own lengths."""
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def pass_data(batch: Batch, max_token_len: int) -> Any:
    """A batch as a worker gets it for ``compute_log_prob``; ``max_token_len`` bounds the tokens of a micro-batch."""
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    sequences = [torch.cat(parts) for parts in zip(batch.prompts, batch.responses, strict=True)]
    masks = jagged([torch.ones_like(ids) for ids in batch.responses])
    data = TensorDict(
        {
            "input_ids": jagged(sequences),
            "position_ids": jagged([torch.arange(len(ids)) for ids in sequences]),
            "prompts": jagged(batch.prompts),
            "responses": jagged(batch.responses),
            "response_mask": masks,
            "loss_mask": masks,
        },
        batch_size=[len(sequences)],
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


def plain_pass(engine: Any, batch: Batch, max_token_len: int) -> dict[str, Tensor]:
    """verl's pass: ``log_probs`` and ``entropy`` [B, length]."""
    with engine.eval_mode():
        return engine.infer_batch(pass_data(batch, max_token_len))["model_output"]


@dataclass
class BatchMeta:
    """The attributes of ``transfer_queue.KVBatchMeta`` that NTHR reads."""

    keys: list[str]
    tags: list[dict[str, Any]]
    extra_info: dict[str, Any] = field(default_factory=dict)
    partition_id: str = "train"
    fields: list[str] | None = None

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(eq=False)
class Trainer:
    """The attributes of ``verl.trainer.ppo.v1.trainer_base.PPOTrainer`` that NTHR reads."""

    config: Any
    global_steps: int = 0
    local_trigger_step: int = 0
    tokenizer: Any = None


class NTHRStep:
    """Steps with the package's own overrides of the trainer around the worker's scoring pass.

    Attributes:
        driver_seconds: time of the last step outside the worker's pass.
        worker_seconds: NTHR's own count of its time inside the worker's pass, ``nthr/seconds``.
    """

    def __init__(self, engine: Any, max_token_len: int, tokenizer: Any = None, **options: Any) -> None:
        """Prepare steps on ``engine`` with the options ``algorithm.nthr``."""
        self.driver_seconds = self.worker_seconds = 0.0
        self._engine, self._max_token_len, self._tokenizer, self._options = engine, max_token_len, tokenizer, options

    def run(self, batch: Batch, number: int = 0, token_dump_dir: Path | None = None) -> Tensor:
        """Run verl's pass and everything that NTHR adds to the step: scores [B, response length], jagged."""
        from verl.protocol import DataProto
        from verl.trainer.config import AlgoConfig
        from verl.trainer.ppo.v1 import trainer_base

        from verl_nthr.integration.driver import trainer as overrides

        options = self._options | {"token_dump_dir": token_dump_dir and str(token_dump_dir)}
        algorithm = {"adv_estimator": "nthr", "nthr": options}
        trainer = Trainer(OmegaConf.create({"algorithm": algorithm, "data": {"seed": 0}}), number, 0, self._tokenizer)
        meta = BatchMeta([f"prompt{group}_{row}_0" for row, group in enumerate(batch.group)], [{} for _ in batch.group])
        masks = [torch.ones_like(ids) for ids in batch.responses]
        rewards = [torch.zeros(len(ids)) for ids in batch.responses]
        for row, correct in zip(rewards, batch.correct, strict=True):
            row[-1] = float(correct)
        columns = {
            "prompts": jagged(batch.prompts),
            "responses": jagged(batch.responses),
            "response_mask": jagged(masks),
            "rm_scores": jagged(rewards),
            "returns": jagged(rewards),
        }
        seconds_in_pass = 0.0

        def worker(meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
            nonlocal seconds_in_pass
            start = time.perf_counter()
            columns.update(self._scored(batch, columns[RESPONSE], meta.extra_info[REQUEST]))
            seconds_in_pass = time.perf_counter() - start
            return meta

        def advantage(meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
            padded = torch.nn.utils.rnn.pad_sequence(rewards, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True)
            data = DataProto.from_dict(
                tensors={"token_level_rewards": padded, "response_mask": mask},
                non_tensors={"uid": np.array([str(group) for group in batch.group], dtype=object)},
            )
            trainer_base.compute_advantage_for_multi_trajectories(data, batch_keys=meta.keys, config=AlgoConfig())
            return meta

        start = time.perf_counter()
        with mock.patch.dict(sys.modules, transfer_queue=_queue(meta, columns)):
            overrides.compute_advantage(
                advantage, trainer, overrides.compute_old_log_prob(worker, trainer, meta, {}), {}
            )
        self.driver_seconds = time.perf_counter() - start - seconds_in_pass
        self.worker_seconds = float(columns[SECONDS].max())
        return columns[SCORE]

    def _scored(self, batch: Batch, response: Tensor, request: Any) -> dict[str, Tensor]:
        """The columns of a worker: those of NTHR, and log-probs and entropies of the response tokens."""
        from verl.utils import tensordict_utils as tu

        data = pass_data(batch, self._max_token_len)
        data[RESPONSE] = response
        tu.assign_non_tensor_data(data, REQUEST, request)
        with self._engine.eval_mode():
            output = dict(self._engine.infer_batch(data)["model_output"])
        for name in ("log_probs", "entropy"):
            rows = zip(output[name].unbind(), batch.responses, strict=True)
            output[name] = jagged([row[-1 - len(ids) : -1] for row, ids in rows])
        output["old_log_probs"] = output.pop("log_probs")
        return output


def _queue(meta: BatchMeta, columns: dict[str, Any]) -> Any:
    """The functions of ``transfer_queue`` that NTHR calls, on ``columns`` of whole batches in one order."""
    from tensordict import TensorDict

    def kv_batch_put(keys: Sequence[str], partition_id: str, fields: TensorDict) -> BatchMeta:
        columns.update(fields.items())
        return meta

    def kv_batch_get(keys: Sequence[str], partition_id: str, select_fields: Sequence[str]) -> TensorDict:
        found = {name: columns[name] for name in select_fields if name in columns}
        return TensorDict(found, batch_size=len(keys))

    return SimpleNamespace(kv_batch_put=kv_batch_put, kv_batch_get=kv_batch_get)
