"""Loss terms inside a worker: verl's loss of each micro-batch plus the micro-batch's part of the terms.

A function in verl's registry of policy losses could not do this: it replaces the base loss, learns neither which
responses are correct nor the number of tokens to divide a term by, and its metrics are averaged, not summed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import wrapt
from torch import Tensor

from verl_nthr.integration.config.loss_options import LOSS_TERMS, PRESERVED, LossTerms
from verl_nthr.integration.protocol import CORRECT
from verl_nthr.losses.llds import llds
from verl_nthr.losses.positive_nll import positive_nll

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine import BaseEngine

LossFunction = Callable[..., tuple[Tensor, dict[str, Any]]]


def around_train_batch(
    wrapped: Callable[..., dict[str, Any]], engine: BaseEngine, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    from verl.utils import tensordict_utils as tu

    data = kwargs["data"] if "data" in kwargs else args[0]
    terms = tu.get(data, LOSS_TERMS)
    if terms is None:
        return wrapped(*args, **kwargs)
    return train_batch(wrapped, engine, terms, *args, **kwargs)


def train_batch(
    verl_batch: Callable[..., dict[str, Any]],
    engine: BaseEngine,
    terms: LossTerms,
    data: TensorDict,
    loss_function: LossFunction,
) -> dict[str, Any]:
    """Run verl's update on a mini-batch with terms added to its loss; a collective of the data-parallel ranks."""
    counts = MiniBatchCounts.over_ranks(data, engine.get_data_parallel_group())

    def with_terms(
        wrapped: LossFunction, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        loss, metrics = wrapped(*args, **kwargs)
        return add_terms(loss, metrics, kwargs["model_output"], kwargs["data"], terms, counts)

    # a proxy, because verl 0.9.0's Megatron engine looks for the actor's configuration in its loss function
    return verl_batch(data, loss_function=wrapt.FunctionWrapper(loss_function, with_terms))


@dataclass(frozen=True)
class MiniBatchCounts:
    """Denominators of the terms of a mini-batch, the same on every rank."""

    correct_tokens: int
    """Tokens of correct responses."""

    preserved_tokens: int
    """Tokens of preserved responses."""

    tokens: int
    """Tokens of all responses."""

    preserved_rows: int
    """Preserved responses."""

    @classmethod
    def over_ranks(cls, data: TensorDict, data_parallel_group: dist.ProcessGroup) -> MiniBatchCounts:
        """Count over the parts of a mini-batch that the ranks of a group hold."""
        from verl.utils.device import get_device_id

        tokens = _padded(data, "response_mask")["response_mask"].bool().sum(dim=1)
        correct, preserved = data[CORRECT], data[PRESERVED]
        counts = torch.stack([tokens[correct].sum(), tokens[preserved].sum(), tokens.sum(), preserved.sum()])
        counts = counts.to(get_device_id())
        dist.all_reduce(counts, group=data_parallel_group)
        return cls(*counts.tolist())


def add_terms(
    loss: Tensor,
    metrics: dict[str, Any],
    model_output: dict[str, Tensor],
    data: TensorDict,
    terms: LossTerms,
    counts: MiniBatchCounts,
) -> tuple[Tensor, dict[str, Any]]:
    """Add the terms to a micro-batch's loss, and their values before the coefficients to its metrics.

    As in verl, a micro-batch gives its part of a mean over the mini-batch times the number of data-parallel ranks: the
    parts add up over micro-batches, and ranks are averaged.
    """
    from verl.utils.metric import AggregationType, Metric
    from verl.workers.utils.padding import no_padding_2_padding

    dp_size = data["dp_size"]
    columns = _padded(data, "response_mask", "old_log_probs")
    mask = columns["response_mask"].bool()
    log_probs = no_padding_2_padding(model_output["log_probs"], data).float()
    parts: dict[str, Tensor] = {}
    if terms.positive_nll_coef > 0:
        nll = positive_nll(log_probs, mask, data[CORRECT], counts.correct_tokens, dp_size)
        loss = loss + terms.positive_nll_coef * nll
        parts["actor/positive_nll_loss"] = nll
    if terms.llds_coef > 0:
        num_tokens = counts.preserved_tokens if terms.llds_normalizer == "preserved" else counts.tokens
        fall, is_open = llds(log_probs, columns["old_log_probs"], mask, data[PRESERVED], num_tokens, dp_size)
        loss = loss + terms.llds_coef * fall
        parts["actor/llds_loss"] = fall
        parts["actor/llds_active_fraction"] = is_open.sum() * (dp_size / max(counts.preserved_rows, 1))
    summed = {name: Metric(value=part, aggregation=AggregationType.SUM) for name, part in parts.items()}
    return loss, metrics | summed


def _padded(data: TensorDict, *names: str) -> TensorDict:
    """Pad columns to [B, L] with 0."""
    return data.select(*names).to_padded_tensor()
