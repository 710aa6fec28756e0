"""Updates of the actor with loss terms: in verl's worker, and in one piece by Hugging Face and autograd."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.integration.passes import TEMPERATURE, Case, Rows, make_data
from tests.integration.references import forward
from verl_nthr.integration.columns import CORRECT
from verl_nthr.integration.loss_options import LOSS_TERMS, PRESERVED, LossTerms

CLIP_LOW, CLIP_HIGH = 0.2, 0.2
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


def run_updates(
    rank: int, models: str, targets: Targets, updates: Sequence[Update], runs: Sequence[tuple[str, LossTerms | None]]
) -> list[list[dict[str, Any]]]:
    """For every update and every pair of a loss mode and terms: gradients of all mini-batches, and metrics."""
    os.environ |= {"VERL_PLATFORM": "cpu", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    return [_run_update(models, targets, update, runs) for update in updates]


def _run_update(
    models: str, targets: Targets, update: Update, runs: Sequence[tuple[str, LossTerms | None]]
) -> list[dict[str, Any]]:
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import ActorConfig, PolicyLossConfig, TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker
    from verl.workers.utils.losses import ppo_loss

    from tests.integration import varlen_attention
    from tests.integration.fsdp import configs

    case = update.case
    if case.ulysses > 1:
        varlen_attention.install()
    worker = TrainingWorker(TrainingWorkerConfig(model_type="language_model", **configs(models, case)))
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
        gradients.append(full_gradients(engine.module))
        return torch.zeros(())

    engine.forward_backward_batch, engine.optimizer_step = keep_loss_function, keep_gradients
    answers = []
    for loss_mode, terms in runs:
        gradients.clear()
        loss_functions.clear()
        config = ActorConfig(
            strategy=case.strategy,
            rollout_n=1,
            ppo_micro_batch_size_per_gpu=1,
            policy_loss=PolicyLossConfig(loss_mode=loss_mode),
        )
        worker.set_loss_fn(partial(ppo_loss, config=config))
        output = worker.train_mini_batch(make_update(targets, mine, case, terms, update.mini_batch))
        answers.append(
            {
                "gradients": gradients.copy(),
                "metrics": tu.get(output, "metrics") if engine.is_mp_src_rank_with_outputs() else None,
                "same_loss_function": all(function is worker.loss_fn for function in loss_functions),
            }
        )
    return answers


def full_gradients(module: Any) -> dict[str, Any]:
    """By parameter, its gradient as a numpy array, gathered from all ranks; of FSDP1, the norm of all alone."""
    if hasattr(module, "clip_grad_norm_"):
        return {NORM: module.clip_grad_norm_(float("inf")).numpy()}
    return {name: parameter.grad.full_tensor().numpy().copy() for name, parameter in module.named_parameters()}


@cache
def reference(model_folder: Path, targets: Targets, chosen: tuple[int, ...]) -> dict[str, Any]:
    """Of the mini-batch ``chosen``: gradients of policy loss, mean NLL and LLDS by parameter, values, open gates.

    "llds_all" is LLDS over the tokens of all responses.
    """
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64, attn_implementation="eager")
    rows = targets.rows
    # a term that is empty is a function of the model too
    zero = 0.0 * next(model.parameters()).sum()
    sums = {"policy": zero, "nll": zero, "llds": zero}
    tokens, gates = {"policy": 0, "nll": 0, "llds": 0}, []
    for i in chosen:
        prompt, answer, mask = rows.prompts[i], rows.responses[i], rows.masks[i]
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        log_softmax = torch.log_softmax(logits / TEMPERATURE, -1)
        log_probs = [log_softmax[k, answer[k]] for k in range(len(answer)) if mask[k]]
        old = [targets.old_log_probs[i][k] for k in range(len(answer)) if mask[k]]
        for log_prob, old_log_prob in zip(log_probs, old, strict=True):
            ratio, advantage = (log_prob - old_log_prob).exp(), targets.advantages[i]
            clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
            sums["policy"] = sums["policy"] + torch.maximum(-advantage * ratio, -advantage * clipped)
        tokens["policy"] += len(old)
        if rows.correct[i]:
            sums["nll"] = sums["nll"] - sum(log_probs)
            tokens["nll"] += len(old)
        if targets.preserved[i]:
            falls = [old_log_prob - log_prob for log_prob, old_log_prob in zip(log_probs, old, strict=True)]
            tokens["llds"] += len(old)
            gates.append(sum(falls).item() > 0)
            if gates[-1]:
                sums["llds"] = sums["llds"] + sum(fall for fall in falls if fall > 0)
    values = {name: total / max(tokens[name], 1) for name, total in sums.items()}
    values["llds_all"] = sums["llds"] / tokens["policy"]
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = {}
    for name, value in values.items():
        found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        gradients[name] = {key: gradient.numpy() for key, gradient in zip(names, found, strict=True)}
    return {"gradients": gradients, "values": {name: value.item() for name, value in values.items()}, "gates": gates}
