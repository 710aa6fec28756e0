"""Loss terms on the driver: before the actor's update, mark the rows that they apply to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from verl_nthr.integration.config.estimators import estimator_of
from verl_nthr.integration.config.loss_options import LOSS_TERMS, PRESERVED, LossTerms
from verl_nthr.integration.driver.columns import read_columns, write_columns
from verl_nthr.integration.driver.run_state import run_state
from verl_nthr.integration.protocol import CORRECT

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer


def around_update_actor(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    terms = LossTerms.from_config(trainer.config.actor_rollout_ref.actor.policy_loss)
    if not terms.is_active:
        return wrapped(*args, **kwargs)
    return update_actor(wrapped, trainer, terms, *args, **kwargs)


def update_actor(
    verl_update: Callable[..., KVBatchMeta],
    trainer: PPOTrainer,
    terms: LossTerms,
    batch: KVBatchMeta,
    metrics: dict[str, Any],
) -> KVBatchMeta:
    """Run verl's update of the actor on a batch that asks for loss terms.

    A response is preserved if the mean of its base advantage is at least 0. The estimators of this package keep it in
    ``returns``, because ``advantages`` have token weights, and a weight of 0 turns a penalty into −0; verl's own keep
    it in ``advantages``.

    Raises:
        RuntimeError: the workers added no term.
    """
    base = "advantages" if estimator_of(trainer.config) is None else "returns"
    columns = read_columns(batch, base, "response_mask").to_padded_tensor()
    mask = columns["response_mask"].bool()
    is_padding = torch.tensor([bool(tag.get("is_padding", False)) for tag in batch.tags])
    # the mean is at least 0 where the sum is
    preserved = (columns[base].masked_fill(~mask, 0.0).sum(dim=1) >= 0) & mask.any(dim=1) & ~is_padding
    correct = run_state(trainer).groups(batch, trainer.global_steps).row_correct
    # workers fetch the fields that the batch names
    batch.fields = write_columns(batch, {CORRECT: correct, PRESERVED: preserved}).fields
    batch.extra_info[LOSS_TERMS] = terms
    try:
        output = verl_update(batch, metrics=metrics)
    finally:
        # extra info stays with the batch, and a later pass must not see it
        del batch.extra_info[LOSS_TERMS]
    if "actor/positive_nll_loss" not in metrics and "actor/llds_loss" not in metrics:
        raise RuntimeError(
            "the workers added no loss term: they ran without verl-nthr. Do not disable it by "
            "VERL_USE_EXTERNAL_PLUGINS; `verl-nthr doctor` shows what is loaded in a Ray worker"
        )
    return output
