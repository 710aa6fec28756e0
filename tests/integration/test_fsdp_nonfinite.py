"""A number that is not finite in a pass of a real FSDP engine costs its group the scores, and no other."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.coverage import covers
from tests.integration.fsdp import build_engine, configs, rows_of
from tests.integration.injection import check_columns, faults_of, injected
from tests.integration.joining import score
from tests.integration.passes import Case, make_rows
from tests.integration.references import check_log_probs, check_scores
from tests.integration.updates import make_targets, make_update
from tests.processes import run_ranks

ROWS = make_rows(0, vocab_size=70)
FAST = [Case("fsdp2", packed=True, dynamic=True)]
THOROUGH = [
    Case("fsdp", packed=False, dynamic=False, anchor_includes_self=False),
    Case("fsdp2", packed=True, dynamic=True, length_normalised=True, vocabulary="full"),
    Case("fsdp", packed=True, dynamic=True, tied=True, fused=True),
]
ULYSSES = [
    Case("fsdp2", packed=True, dynamic=True, ulysses=2),
    Case("fsdp2", packed=True, dynamic=True, ulysses=2, length_normalised=True, anchor_includes_self=False),
]


def run_faults(rank: int, models: str, cases: list[Case], ranks: int) -> list[list[dict[str, Any] | None]]:
    """For every case the answers of the sound pass, and of those with a fault."""
    results = []
    for case in cases:
        engine = build_engine(models, case)
        mine = rows_of(engine, ROWS)
        passes = [None, *faults_of(ROWS, ranks // case.ulysses)]
        answers = []
        for fault in passes:
            with injected(fault, mine):
                answers.append(score(engine, ROWS, mine, case))
        results.append(answers)
    return results


@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        pytest.param(2, FAST, id="2 ranks", marks=[covers(case, ranks=2) for case in FAST]),
        *[
            pytest.param(ranks, cases, id=name, marks=[pytest.mark.distributed, *(covers(c, ranks) for c in cases)])
            for name, ranks, cases in (
                ("1 rank, all", 1, [*FAST, *THOROUGH[:2]]),
                ("1 rank, fused", 1, THOROUGH[2:]),
                ("2 ranks, all", 2, THOROUGH[:2]),
                ("2 ranks, Ulysses", 2, ULYSSES),
                ("4 ranks, Ulysses", 4, ULYSSES),
            )
        ],
    ],
)
def test_a_fault_costs_its_group_the_scores_and_no_other(models: Path, ranks: int, cases: list[Case]) -> None:
    results = run_ranks(run_faults, ranks, str(models), cases, ranks, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index, case in enumerate(cases):
        sound, *found = ([of_rank[index][k] for of_rank in results] for k in range(len(results[0][index])))
        sound = [answer for answer in sound if answer is not None]
        check_log_probs(sound, models, ROWS, case)
        check_scores(sound, models, ROWS, case)
        for fault, answers in zip(faults_of(ROWS, ranks // case.ulysses), found, strict=True):
            check_columns(sound, [answer for answer in answers if answer is not None], ROWS, fault)


def run_update_with(rank: int, models: str, stage: str) -> tuple[float, bool]:
    """The gradient's norm of an update by verl's worker with a nan at a stage, and whether a parameter has changed."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import ActorConfig, TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker
    from verl.workers.utils.losses import ppo_loss

    case = FAST[0]
    worker = TrainingWorker(TrainingWorkerConfig(model_type="language_model", **configs(models, case)))
    worker.reset()
    actor = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    worker.set_loss_fn(partial(ppo_loss, config=actor))
    module = worker.engine.module
    targets = make_targets(Path(models) / case.model, ROWS)
    if stage == "old log-prob":
        old = targets.old_log_probs
        targets = replace(targets, old_log_probs=[[math.nan, *old[0][1:]], *old[1:]])
    if stage == "hidden state":
        nan_at = torch.zeros(1, 1000, 1).index_fill_(1, torch.tensor([3]), math.nan)
        module.get_output_embeddings().register_forward_pre_hook(
            lambda _, args: (args[0] + nan_at[:, : args[0].shape[1]],)
        )
    before = [parameter.full_tensor().clone() for parameter in module.parameters()]
    mine = range(len(ROWS.group))
    output = worker.train_mini_batch(make_update(targets, mine, case, None, len(mine)))
    after = [parameter.full_tensor() for parameter in module.parameters()]
    changed = any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    norm = tu.get(output, "metrics")["grad_norm"]
    return float(norm if isinstance(norm, float) else norm[0]), changed


@pytest.mark.distributed
@pytest.mark.parametrize(("stage", "steps"), [("none", True), ("old log-prob", True), ("hidden state", False)])
def test_what_verl_does_with_nan_in_its_update(models: Path, stage: str, steps: bool) -> None:
    (found,) = run_ranks(run_update_with, 1, str(models), stage)
    if isinstance(found, Exception):
        raise found
    norm, changed = found
    assert changed == math.isfinite(norm) == steps
