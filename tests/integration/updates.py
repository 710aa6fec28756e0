"""Updates of the actor with loss terms by verl's real worker, in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.integration.passes import Case, Rows, make_data
from tests.integration.references import forward
from verl_nthr.integration.config.loss_options import LOSS_TERMS, PRESERVED, LossTerms
from verl_nthr.integration.protocol import CORRECT

NORM = "norm of all gradients"


@dataclass(frozen=True)
class Targets:
    """What an update reads besides the rows."""

    rows: Rows
    advantages: list[float]
    """By row."""
    preserved: list[bool]
    """By row."""
    old_log_probs: list[list[float]]
    """By row and response token."""

    def __hash__(self) -> int:
        return hash(repr(self))


def make_targets(model_folder: Path, rows: Rows) -> Targets:
    """Old log-probs around those of the model, and GRPO-like advantages that are 0 in groups of one kind."""
    rng = torch.Generator().manual_seed(1)
    found = forward(model_folder, rows, 1).log_probs
    old = [[x + 0.3 * float(torch.randn((), generator=rng)) for x in log_probs] for log_probs in found]
    in_play = rows.in_play()
    advantages = [
        (1.2 if correct else -0.7) if mixed else 0.0 for correct, mixed in zip(rows.correct, in_play, strict=True)
    ]
    preserved = [a >= 0 and group >= 0 for a, group in zip(advantages, rows.group, strict=True)]
    return Targets(rows, advantages, preserved, old)


def make_update(targets: Targets, mine: Sequence[int], case: Case, terms: LossTerms | None, mini_batch: int) -> Any:
    """The rows ``mine`` as a worker gets them for its update."""
    from verl.utils import tensordict_utils as tu

    rows, mine = targets.rows, list(mine)
    data = make_data(rows, mine, case)
    old = [torch.tensor(targets.old_log_probs[i]) for i in mine]
    data["old_log_probs"] = torch.nested.as_nested_tensor(old, layout=torch.jagged)
    advantages = [targets.advantages[i] * torch.tensor(rows.masks[i]).float() for i in mine]
    data["advantages"] = torch.nested.as_nested_tensor(advantages, layout=torch.jagged)
    data[CORRECT] = torch.tensor([rows.correct[i] for i in mine])
    data[PRESERVED] = torch.tensor([targets.preserved[i] for i in mine])
    tu.assign_non_tensor(data, mini_batch_size=mini_batch, global_batch_size=mini_batch)
    if terms is not None:
        tu.assign_non_tensor_data(data, LOSS_TERMS, terms)
    return data


@dataclass(frozen=True)
class Update:
    """One way to cut an update."""

    case: Case
    shares: tuple[tuple[int, ...], ...]
    """The rows of each data-parallel replica."""
    mini_batch: int
    """Rows of a mini-batch, over all replicas."""

    def __str__(self) -> str:
        return f"{self.case}, {len(self.shares)} replicas, mini-batches of {self.mini_batch}"


Run = tuple[str, LossTerms | None]
"""verl's loss mode, and terms."""


def run_updates(
    rank: int, models: str, targets: Targets, updates: Sequence[Update], runs: Sequence[Run]
) -> list[list[dict[str, Any]]]:
    """By update and run, what :func:`run_update` says of verl's FSDP engine."""
    from tests.integration import varlen_attention
    from tests.integration.fsdp import configs

    answers = []
    for update in updates:
        if update.case.ulysses > 1:
            varlen_attention.install()
        answers.append(run_update(configs(models, update.case), full_gradients, targets, update, runs))
    return answers


def run_update(
    configs: dict[str, Any],
    gradients_of: Callable[[Any], dict[str, Any]],
    targets: Targets,
    update: Update,
    runs: Sequence[Run],
) -> list[dict[str, Any]]:
    """For every run: the gradients of all mini-batches by one of verl's workers, which makes no step, and its metrics.

    Args:
        configs: verl's configs of the worker.
        gradients_of: reads the gradients of an engine.
        targets: the batch.
        update: how it is cut.
        runs: what is run, one after the other.
    """
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import ActorConfig, PolicyLossConfig, TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker
    from verl.workers.utils.losses import ppo_loss

    worker = TrainingWorker(TrainingWorkerConfig(model_type="language_model", **configs))
    worker.reset()
    engine = worker.engine
    mine = update.shares[engine.get_data_parallel_rank()]
    gradients: list[dict[str, Any]] = []
    loss_functions: list[Any] = []
    forward_backward = engine.forward_backward_batch

    def keep_loss_function(data: Any, loss_function: Any, forward_only: bool = False) -> Any:
        loss_functions.append(loss_function)
        return forward_backward(data, loss_function, forward_only=forward_only)

    def keep_gradients() -> Tensor:
        gradients.append(gradients_of(engine))
        return torch.zeros(())

    engine.forward_backward_batch, engine.optimizer_step = keep_loss_function, keep_gradients
    answers = []
    for loss_mode, terms in runs:
        gradients.clear()
        loss_functions.clear()
        policy_loss = PolicyLossConfig(loss_mode=loss_mode)
        config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, policy_loss=policy_loss)
        worker.set_loss_fn(partial(ppo_loss, config=config))
        output = worker.train_mini_batch(make_update(targets, mine, update.case, terms, update.mini_batch))
        answers.append(
            {
                "gradients": gradients.copy(),
                "metrics": tu.get(output, "metrics") if engine.is_mp_src_rank_with_outputs() else None,
                "same_loss_function": all(function is worker.loss_fn for function in loss_functions),
            }
        )
    return answers


def full_gradients(engine: Any) -> dict[str, Any]:
    """By parameter, its gradient as a numpy array, gathered from all ranks; of FSDP1, the norm of all alone."""
    if hasattr(engine.module, "clip_grad_norm_"):
        return {NORM: engine.module.clip_grad_norm_(float("inf")).numpy()}
    return {name: parameter.grad.full_tensor().numpy().copy() for name, parameter in engine.module.named_parameters()}
