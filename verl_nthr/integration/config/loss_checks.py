"""Loss terms that cannot work are refused on the driver, before Ray starts a worker."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config import versions
from verl_nthr.integration.config.loss_options import POLICY_LOSS, LossTerms, option_names
from verl_nthr.integration.config.options import NTHRConfigError
from verl_nthr.integration.config.requirements import EVERY_RUN, STRATEGIES, Requirement, unmet

ACTOR = "actor_rollout_ref.actor"
OWN_CLASS = "verl_nthr.integration.policy_loss.PolicyLossConfig"
VERLS_CLASS = "verl.workers.config.PolicyLossConfig"

_REQUIREMENTS: tuple[Requirement, ...] = (
    *EVERY_RUN,
    (
        "actor_rollout_ref.actor.strategy",
        lambda value: value in STRATEGIES,
        f"this engine is not covered yet; set actor_rollout_ref.actor.strategy={'|'.join(STRATEGIES)}",
    ),
    (
        "actor_rollout_ref.actor.megatron.dynamic_context_parallel",
        lambda value: not value,
        "dynamic context parallelism is not covered yet; set it to False",
    ),
    (
        "algorithm.rollout_correction.bypass_mode",
        lambda value: not value,
        "bypass mode has no log-probs of the policy before the update; set it to False",
    ),
    ("distillation.enabled", lambda value: not value, "distillation's loss is not covered yet; set it to False"),
)


def check_loss_terms(config: DictConfig) -> None:
    """Check the options of the loss terms in a whole configuration of ``verl.trainer.main_ppo``.

    Raises:
        NTHRConfigError: a term is asked for and cannot work so; the message lists every reason.
    """
    found = list(problems(config))
    if found:
        raise NTHRConfigError("the loss terms cannot work:\n" + "\n".join(f"  - {problem}" for problem in found))


def problems(config: DictConfig) -> Iterator[str]:
    """Why the loss terms cannot work, one reason a line; warns of what is without effect."""
    node = OmegaConf.select(config, POLICY_LOSS, default=None) or {}
    given = [name for name in option_names() if name in node]
    if given and node.get("_target_") == VERLS_CLASS:
        yield (
            f"{POLICY_LOSS}.{given[0]}={node[given[0]]} is no option of {VERLS_CLASS}; add "
            f"{POLICY_LOSS}._target_={OWN_CLASS}"
        )
    try:
        terms = LossTerms.from_config(node)
    except ValueError as error:
        yield str(error)
        return
    for message in questionable(config, terms):
        warnings.warn(message, stacklevel=4)
    if not terms.is_active:
        return
    yield from versions.refused()
    versions.warn_of_untested(config)
    yield from unmet(config, _REQUIREMENTS)


def questionable(config: DictConfig, terms: LossTerms) -> Iterator[str]:
    """What a run is warned about, one warning a line."""
    if terms.llds_coef == 0 and terms.llds_normalizer != LossTerms.llds_normalizer:
        yield (
            f"{POLICY_LOSS}.llds_normalizer={terms.llds_normalizer}: without effect on {POLICY_LOSS}.llds_coef=0; "
            "unset it, or set a coefficient, as 0.1"
        )
    if terms.llds_coef > 0 and _updates_of_a_step(config) == 1:
        yield (
            f"{POLICY_LOSS}.llds_coef={terms.llds_coef}: a step is a single update, before which no response has "
            f"become less likely but by rounding; set {ACTOR}.ppo_mini_batch_size below data.train_batch_size="
            f"{config.data.train_batch_size}"
        )


def _updates_of_a_step(config: DictConfig) -> int:
    actor, v1 = config.actor_rollout_ref.actor, config.trainer.v1
    batches = v1.separate_async.parameter_sync_step if v1.trainer_mode == "separate_async" else 1
    factors = batches, actor.ppo_epochs, config.data.train_batch_size, actor.ppo_mini_batch_size
    if not all(isinstance(factor, int) and factor > 0 for factor in factors):
        return 0
    return batches * actor.ppo_epochs * max(1, config.data.train_batch_size // actor.ppo_mini_batch_size)
