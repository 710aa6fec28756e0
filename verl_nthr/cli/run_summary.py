"""What a run will do, in a few lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig


def describe(config: DictConfig) -> dict[str, str]:
    """What a checked configuration asks for, by headings."""
    from verl_nthr.integration.config.estimators import estimator_of
    from verl_nthr.integration.config.loss_options import LossTerms
    from verl_nthr.integration.config.options import NTHROptions

    estimator, options = estimator_of(config), NTHROptions.from_config(config.algorithm)
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    name, terms = config.algorithm.adv_estimator, LossTerms.from_config(actor.policy_loss)
    group_filter = config.algorithm.get("filter_groups") or {}
    if estimator is None:
        advantage, scored = f"{name}, as verl computes it", "nowhere"
    else:
        weights = f", tokens weighed by {estimator.weighting}" if estimator.weighting else ", tokens not weighed"
        advantage = f"{name}: base advantage {estimator.base}{weights}"
        scored = f"in the old-log-prob pass of the {actor.strategy} engine" if estimator.is_scored else "nowhere"
    return {
        "advantage": advantage,
        "tokens are scored": scored,
        "engine": f"{actor.strategy}, {config.trainer.nnodes} × {config.trainer.n_gpus_per_node} devices",
        "trainer": config.trainer.v1.trainer_mode if config.trainer.use_v1 else "legacy",
        "batch": f"{config.data.train_batch_size} prompts × {rollout.n} responses, updates on "
        f"{actor.ppo_mini_batch_size} prompts",
        "algorithm.nthr": _settings(options) or "defaults",
        "loss terms": _settings(terms) or "none",
        "groups dropped": options.filter_groups if group_filter.get("enable") else "none",
        "likelihood monitor": f"every {options.monitor_freq} steps" if options.monitor_freq else "off",
    }


def _settings(options: Any) -> str:
    return ", ".join(f"{path}={value}" for path, value in _changed(options))


def _changed(options: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass that have another value than their default, with those of nested ones."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _changed(value, f"{path}{field.name}.")
        elif value != field.default:
            yield f"{path}{field.name}", value
