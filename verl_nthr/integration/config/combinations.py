"""Which estimators, options and settings of verl do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_nthr.advantages import RULES, AdvantageRule
from verl_nthr.integration.config.estimators import DR_GRPO, ESTIMATORS, Estimator
from verl_nthr.integration.config.options import ALL_CORRECT, ALL_WRONG, HOMOGENEOUS, NTHROptions
from verl_nthr.text import quoted

ONLY_SIGN = {"psr": "positive", "grpo_passk": "positive", "nsr": "negative"}
"""Base advantages that are never of the other sign."""

WEIGHED_SIGNS = {"nthr": "negative", "random": "negative", "positive": "negative", "negative": "positive"}
"""Weightings that change advantages of one sign alone: the last two take them away."""

ACTOR, FILTER = "actor_rollout_ref.actor", "algorithm.filter_groups"


def refused(config: DictConfig, estimator: Estimator, options: NTHROptions) -> Iterator[str]:
    """Why a run cannot be as it is set, one reason a line."""
    name = config.algorithm.adv_estimator
    named = ESTIMATORS[name]
    if named.weighting is not None and options.weighting not in (None, named.weighting):
        yield (
            f"algorithm.nthr.weighting={options.weighting}: adv_estimator={name} is named for its weighting; leave the "
            "option at null, or take an estimator that is named for its base, as adv_estimator=ngrpo"
        )
    if named.weighting is None and options.base not in (None, named.base):
        yield (
            f"algorithm.nthr.base={options.base}: adv_estimator={name} is named for its base; leave the option at "
            "null, or take an estimator that is named for its weighting, as adv_estimator=nthr"
        )
    rule = RULES.get(estimator.base)
    if rule is not None and rule.binary and config.algorithm.use_kl_in_reward:
        yield (
            f"algorithm.use_kl_in_reward=True: {estimator.base} looks at correctness alone, so that a penalty in the "
            f"reward has no effect; set it to False and {ACTOR}.use_kl_loss=True"
        )
    if estimator.base == "ngrpo" and config.algorithm.use_kl_in_reward:
        yield (
            "algorithm.use_kl_in_reward=True: NGRPO compares rewards with the best one, "
            "algorithm.nthr.ngrpo.max_reward; a penalty below 0 would exceed it; set it to False and "
            f"{ACTOR}.use_kl_loss=True"
        )
    sign, weighed = ONLY_SIGN.get(estimator.base), WEIGHED_SIGNS.get(estimator.weighting or "")
    if sign is not None and sign == weighed and not estimator.is_scored:
        yield (
            f"algorithm.nthr.weighting={estimator.weighting} takes away every advantage of base={estimator.base}, so "
            "that nothing is learned; unset one of the two"
        )
    if estimator.is_scored and _loss_mode(config) == "geo_mean":
        yield (
            f"{ACTOR}.policy_loss.loss_mode=geo_mean: verl takes the mean of a response's advantages there, which "
            f"undoes token weights; use vanilla, or gspo, which weighs every token by its own"
        )


def questionable(config: DictConfig, estimator: Estimator, options: NTHROptions) -> Iterator[str]:
    """What a run is warned about, one warning a line."""
    sign, weighed = ONLY_SIGN.get(estimator.base), WEIGHED_SIGNS.get(estimator.weighting or "")
    if sign is not None and weighed not in (None, sign):
        yield (
            f"algorithm.nthr.weighting={estimator.weighting}: without effect on base={estimator.base}, which has no "
            f"{weighed} advantage; unset one of the two"
        )
    if estimator.base in (DR_GRPO, *RULES) and not config.algorithm.norm_adv_by_std_in_grpo:
        yield (
            f"algorithm.norm_adv_by_std_in_grpo=False: without effect on the base advantage {estimator.base}; unset it"
        )
    if estimator.compares_group and config.actor_rollout_ref.rollout.full_determinism:
        yield (
            "actor_rollout_ref.rollout.full_determinism=True: verl 0.9 samples all responses of a prompt with one "
            "seed, so that they are copies of each other, and no group is mixed; set it to False"
        )
    actor = OmegaConf.select(config, ACTOR)
    clip = actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c
    is_asymmetric = all(isinstance(value, int | float) for value in clip) and clip[0] < clip[1] and clip[2] > 3
    if estimator.base == "ngrpo" and not is_asymmetric:
        yield (
            f"{ACTOR}.clip_ratio_low={actor.clip_ratio_low}, clip_ratio_high={actor.clip_ratio_high}, "
            f"clip_ratio_c={actor.clip_ratio_c}: NGRPO's advantages come with an asymmetric clip and no dual clip; set "
            f"them to 0.16, 0.24 and 1e9"
        )


def refused_filters(config: DictConfig, options: NTHROptions) -> Iterator[str]:
    """Why groups cannot be filtered as ``algorithm.nthr.filter_groups`` says, one reason a line."""
    node = OmegaConf.select(config, FILTER, default=None)
    if node is not None and not isinstance(node, Mapping):
        yield f"{FILTER}={quoted(node)}: give options, as algorithm.filter_groups.enable=True"
    if options.filter_groups == HOMOGENEOUS:
        return
    asked, verls = f"algorithm.nthr.filter_groups={options.filter_groups}", _verls_filter(config)
    if verls.get("enable", False) and verls.get("metric") != options.metric:
        yield (
            f"{asked}: algorithm.filter_groups.metric={verls.get('metric')} and algorithm.nthr.metric={options.metric} "
            "differ, and the first decides which groups are alike, the second which are correct; set both to the same"
        )
    sampler = OmegaConf.select(config, "trainer.v1.sampler.custom_sampler", default=None) or {}
    if sampler.get("path") and sampler.get("name"):
        yield (
            f"{asked}: trainer.v1.sampler.custom_sampler.path={sampler.path} filters by its own rules; set it to null, "
            f"or algorithm.nthr.filter_groups={HOMOGENEOUS}"
        )


def questionable_filters(config: DictConfig, estimator: Estimator | None, options: NTHROptions) -> Iterator[str]:
    """What a run is warned about that filters groups, one warning a line."""
    asked, is_enabled = f"algorithm.nthr.filter_groups={options.filter_groups}", _verls_filter(config).get("enable")
    if options.filter_groups != HOMOGENEOUS and not is_enabled:
        yield f"{asked} has no effect without algorithm.filter_groups.enable=True"
    rule = options.rule(estimator.base) if estimator is not None else None
    if rule is None or not is_enabled:
        return
    dropped = (ALL_WRONG, ALL_CORRECT) if options.filter_groups == HOMOGENEOUS else (options.filter_groups,)
    lost = [kind for kind in dropped if getattr(rule, f"signal_of_{kind}")]
    if lost:
        yield (
            f"{asked} with algorithm.filter_groups.enable=True drops groups that {estimator.base} learns from "
            f"({', '.join(lost)}); set it to {_filter_for(rule)}"
        )


def _filter_for(rule: AdvantageRule) -> str:
    if rule.signal_of_all_wrong and rule.signal_of_all_correct:
        return "nothing, and algorithm.filter_groups.enable=False"
    return ALL_CORRECT if rule.signal_of_all_wrong else ALL_WRONG


def _verls_filter(config: DictConfig) -> Mapping[str, Any]:
    node = OmegaConf.select(config, FILTER, default=None)
    return node if isinstance(node, Mapping) else {}


def _loss_mode(config: DictConfig) -> str:
    return OmegaConf.select(config, f"{ACTOR}.policy_loss.loss_mode", default="vanilla")
