"""Steps of capture, scoring and weighting on the model and the batch shape of ``verl-nthr demo``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.batch import Batch, make_batch
from benchmarks.engine import build_engine
from benchmarks.passes import jagged, pass_data
from benchmarks.queue import BatchMeta, Columns, Trainer, advantage_tensors
from benchmarks.shapes import Shape
from verl_nthr.demo.settings import (
    MAX_PROMPT_TOKENS,
    MAX_RESPONSE_TOKENS,
    PROMPTS_PER_STEP,
    RESPONSES_PER_PROMPT,
    ROWS_PER_MICRO_BATCH,
)
from verl_nthr.demo.toy_model import make_model, make_tokenizer
from verl_nthr.integration.request import REQUEST, RESPONSE


class Soak:
    """One rank's worker, and the driver's part of its steps.

    Attributes:
        engine: verl's FSDP2 engine around the demo's model.
    """

    def __init__(self, rank: int, ranks: int) -> None:
        """Build the engine on the CPU, in an initialised process group."""
        self.rank, self.ranks = rank, ranks
        self._tokenizer = make_tokenizer()
        config = make_model(self._tokenizer, seed=0).config
        shape = Shape(
            config.hidden_size,
            config.intermediate_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads,
            tied=config.tie_word_embeddings,
            vocabulary=config.vocab_size,
            positions=config.max_position_embeddings,
        )
        self.engine = build_engine(shape, torch.device("cpu"), "float32")

    def step(self, number: int, dumps: Path | None) -> None:
        """Score and weigh a new random batch, all of whose groups are mixed; write its token dump into ``dumps``."""
        from verl.trainer.ppo.v1 import trainer_base

        from verl_nthr.integration import trainer as nthr_trainer

        batch = make_batch(
            PROMPTS_PER_STEP,
            RESPONSES_PER_PROMPT,
            MAX_RESPONSE_TOKENS,
            MAX_PROMPT_TOKENS,
            len(self._tokenizer),
            seed=number,
        )
        trainer, columns = self._trainer(number, dumps), _columns(batch)

        def worker(meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
            columns.values.update(self._scored(batch, columns.values[RESPONSE], meta.extra_info[REQUEST]))
            return meta

        def verl_advantage(meta: BatchMeta, metrics: dict[str, Any]) -> BatchMeta:
            columns.values["returns"] = columns.values["rm_scores"]
            data = SimpleNamespace(batch=advantage_tensors(columns.values["rm_scores"].unbind()))
            trainer_base.compute_advantage_for_multi_trajectories(data)
            return meta

        with columns.in_place():
            meta = nthr_trainer.compute_old_log_prob(worker, trainer, columns.meta, {})
            with mock.patch.object(trainer_base, "compute_advantage_for_multi_trajectories", lambda data, **_: data):
                nthr_trainer.compute_advantage(verl_advantage, trainer, meta, {})

    def _trainer(self, number: int, dumps: Path | None) -> Trainer:
        algorithm = {"adv_estimator": "nthr", "nthr": {"token_dump_dir": None if dumps is None else str(dumps)}}
        config = OmegaConf.create({"algorithm": algorithm, "data": {"seed": 0}})
        return Trainer(config, global_steps=number, tokenizer=self._tokenizer)

    def _scored(self, batch: Batch, response: Tensor, request: Any) -> dict[str, Tensor]:
        """The workers' columns of all rows; every rank passes a share of them through its engine."""
        from verl.utils import tensordict_utils as tu

        mine = range(self.rank, len(batch.group), self.ranks)
        data = pass_data(batch.part(mine), max_token_len=0)
        tu.assign_non_tensor(
            data,
            use_remove_padding=False,
            use_dynamic_bsz=False,
            micro_batch_size_per_gpu=ROWS_PER_MICRO_BATCH // self.ranks,
        )
        data[RESPONSE] = response[list(mine)]
        tu.assign_non_tensor_data(data, REQUEST, request)
        with self.engine.eval_mode():
            output = self.engine.infer_batch(data)["model_output"]
        rows = {name: list(values.unbind()) for name, values in output.items()}
        for name in ("log_probs", "entropy"):
            rows[name] = [row[-1 - len(batch.responses[i]) : -1] for row, i in zip(rows[name], mine, strict=True)]
        rows["old_log_probs"] = rows.pop("log_probs")
        by_rank = [rows] * self.ranks
        if self.ranks > 1:
            dist.all_gather_object(by_rank, rows)
        found = {name: [by_rank[i % self.ranks][name][i // self.ranks] for i in range(len(response))] for name in rows}
        return {name: jagged(values) if values[0].dim() else torch.stack(values) for name, values in found.items()}


def _columns(batch: Batch) -> Columns:
    responses = [torch.tensor(ids) for ids in batch.responses]
    rewards = [torch.zeros(len(response)) for response in responses]
    for row, correct in zip(rewards, batch.correct, strict=True):
        row[-1] = float(correct)
    keys = [f"prompt{group}_{row}_0" for row, group in enumerate(batch.group)]
    return Columns(
        BatchMeta(keys, [{} for _ in keys]),
        {
            "prompts": jagged([torch.tensor(ids) for ids in batch.prompts]),
            "responses": jagged(responses),
            "response_mask": jagged([torch.ones_like(response) for response in responses]),
            "rm_scores": jagged(rewards),
        },
    )
