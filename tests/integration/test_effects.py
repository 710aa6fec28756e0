"""An option that is set either changes something or is warned of: every estimator and pair, every option.

Whether it changes something is tried out: advantages of a small batch are computed with and without it.
"""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from functools import cache
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from tests.integration.test_combinations import ACTOR, configured
from verl_nthr.advantages import GroupRewards
from verl_nthr.influence.batch import batch_influence
from verl_nthr.integration.base_advantage import share_of_kept
from verl_nthr.integration.config.checks import check_run
from verl_nthr.integration.config.effects import NEEDS, without_effect
from verl_nthr.integration.config.estimators import BASES, DR_GRPO, Estimator
from verl_nthr.integration.config.loss_checks import OWN_CLASS, check_loss_terms
from verl_nthr.integration.config.loss_options import POLICY_LOSS
from verl_nthr.integration.config.options import NTHRConfigError, NTHROptions
from verl_nthr.integration.functions import advantages as verls_advantages
from verl_nthr.weighting import WEIGHTINGS, Responses

LENGTH, DIM, VOCABULARY, DRAWN = 40, 6, 12, 6
REWARDS = torch.tensor(
    [[0.9, 0.7, 0.1, 0.0], [0.8, 0.4, 0.2, 0.0], [0.3, 0.2, 0.1, 0.0], [1.0, 0.9, 0.8, 0.7]]
).flatten()
GROUP = torch.arange(4).repeat_interleave(4)
OTHER_METRIC = torch.where(GROUP == 0, 1.0, 1 - REWARDS)
"""What ``metric=acc`` finds: other responses are correct, and fewer groups are mixed."""

CHANGED: dict[str, Any] = {
    "beta": -2.0,
    "eta": 0.3,
    "vocabulary": "full",
    "anchor_includes_self": False,
    "reward_threshold": 0.25,
    "metric": "acc",
    "denominator": "all",
    "thr.rho": 0.7,
    "ngrpo.max_reward": 3.0,
    "w_reinforce.positive_weight": 0.9,
    "s_grpo.noise_rate": 0.3,
    "lens.all_wrong_weight": 0.9,
}
"""Options that decide advantages, with another value than their default."""

PAIRS = sorted({(base, weighting) for base in BASES for weighting in (None, *WEIGHTINGS)}, key=str)
USUAL = {"beta": 0.1}
"""Selects some of the batch's tokens."""

WITHOUT_EFFECT = {
    *((base, weighting) for base in ("psr", "grpo_passk") for weighting in ("nthr", "random", "positive")),
    ("nsr", "negative"),
}
"""Pairs whose weighting finds nothing to weigh."""

NOTHING_LEARNED = {("psr", "negative"), ("grpo_passk", "negative"), ("nsr", "positive")}
"""Pairs whose weighting leaves nothing."""


@cache
def config(estimator: str = "nthr", loss_agg_mode: str = "token-mean") -> DictConfig:
    return configured(estimator, f"{ACTOR}.loss_agg_mode={loss_agg_mode}")


def of_pair(base: str, weighting: str) -> DictConfig:
    named = {"nthr": "nthr", "random": "nthr_random", "positive": "pos_only", "negative": "neg_only"}
    return configured(named[weighting], f"algorithm.nthr.base={base}")


def with_options(**changed: Any) -> NTHROptions:
    options = NTHROptions()
    for path, value in changed.items():
        name, _, nested = path.partition(".")
        value = dataclasses.replace(getattr(options, name), **{nested: value}) if nested else value
        options = dataclasses.replace(options, **{name: value})
    return options


@cache
def tokens() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(3)
    count = len(REWARDS) * LENGTH
    return {
        "hidden": torch.randn(count, DIM, generator=rng),
        "token_ids": torch.randint(0, DRAWN, (count,), generator=rng),
        "response": torch.arange(len(REWARDS)).repeat_interleave(LENGTH),
        "unembedding": torch.randn(VOCABULARY, DIM, generator=rng),
    }


def outcome(base: str, weighting: str | None, options: NTHROptions, loss_agg_mode: str) -> tuple[Tensor, float]:
    """Advantages of the batch [R, L] after weights and denominator, and the share of mixed groups that is logged."""
    mask = torch.ones(len(REWARDS), LENGTH)
    correct = (REWARDS if options.metric == "reward" else OTHER_METRIC) >= options.reward_threshold
    rule = options.rule(base)
    if rule is None:
        by_std = {} if base != DR_GRPO else {"norm_adv_by_std_in_grpo": False}
        result = verls_advantages("grpo" if base == DR_GRPO else base, REWARDS, mask.bool(), GROUP, **by_std)
    else:
        log_prob = -torch.linspace(0.1, 0.9, len(REWARDS))
        batch = GroupRewards(REWARDS, correct, GROUP, log_prob, torch.full_like(GROUP, LENGTH))
        result = rule(batch)[:, None] * mask
    if rule is not None and rule.drops_rows and options.denominator == "kept":
        result = result / share_of_kept(result, mask, loss_agg_mode)
    rule_of_tokens = options.weighting_rule(weighting)
    if rule_of_tokens is None:
        return result, 0.0
    influence = batch_influence(
        **tokens(),
        log_probs=None,
        group=GROUP,
        correct=correct,
        bias=None,
        temperature=1.0,
        beta=options.beta,
        vocabulary=options.vocabulary,
        anchor_includes_self=options.anchor_includes_self,
        length_normalised=rule_of_tokens.length_normalised,
    )
    is_mixed = influence.mixed[GROUP]
    score = influence.scores.reshape(mask.shape).masked_fill(~is_mixed[:, None], math.nan)
    threshold = influence.threshold[GROUP].masked_fill(~is_mixed, math.nan)
    responses = Responses(result, score, threshold, correct, influence.success_rate[GROUP])
    return result * rule_of_tokens.weights(responses), float(is_mixed.float().mean())


def has_effect(base: str, weighting: str | None, option: str, *, loss_agg_mode: str, **others: Any) -> bool:
    found = [
        outcome(base, weighting, with_options(**USUAL | others | extra), loss_agg_mode)
        for extra in ({}, {option: CHANGED[option]})
    ]
    return not torch.equal(found[0][0], found[1][0]) or found[0][1] != found[1][1]


def is_warned_of(base: str, weighting: str | None, option: str, *, loss_agg_mode: str, **others: Any) -> bool:
    options = with_options(**USUAL | others | {option: CHANGED[option]})
    name = option.partition(".")[0]
    said = list(without_effect(config(loss_agg_mode=loss_agg_mode), Estimator(base, weighting), options))
    return any(text.startswith(f"algorithm.nthr.{name}: without effect on base={base}") for text in said)


@pytest.mark.parametrize("base", BASES)
def test_an_option_has_an_effect_or_is_warned_of(base: str) -> None:
    for weighting in (None, *WEIGHTINGS):
        if (base, weighting) in NOTHING_LEARNED:
            continue  # refused as a pair
        of_scores = {"beta", "eta", "vocabulary", "anchor_includes_self"}
        tried = CHANGED.keys() - (of_scores if (base, weighting) in WITHOUT_EFFECT else set())
        for option in tried:
            warned = is_warned_of(base, weighting, option, loss_agg_mode="token-mean")
            assert warned != has_effect(base, weighting, option, loss_agg_mode="token-mean"), (weighting, option)


@pytest.mark.parametrize(
    ("base", "weighting", "option", "settings"),
    [
        ("grpo", "nthr", "anchor_includes_self", {"beta": 0.0}),
        ("grpo", "thr", "anchor_includes_self", {"beta": 0.0}),
        ("grpo", "nthr", "anchor_includes_self", {"beta": -math.inf}),
        ("psr", None, "denominator", {"loss_agg_mode": "token-sum"}),
        ("nsr", "nthr", "denominator", {"loss_agg_mode": "token-sum"}),
        ("w_reinforce", "negative", "w_reinforce.positive_weight", {}),
    ],
)
def test_a_value_of_another_setting_takes_the_effect_away(
    base: str, weighting: str, option: str, settings: dict[str, Any]
) -> None:
    settings = {"loss_agg_mode": "token-mean"} | settings
    assert not has_effect(base, weighting, option, **settings)
    assert is_warned_of(base, weighting, option, **settings)


@pytest.mark.parametrize(
    ("option", "value", "scored", "others"),
    [
        ("feature_device", "host", True, False),
        ("token_dump_dir", "tokens", True, False),
        ("on_nonfinite", "raise", True, True),
        ("monitor_epsilon", 0.1, False, False),
        ("monitor_freq", 1, True, True),
    ],
)
def test_what_is_written_and_measured(option: str, value: Any, scored: bool, others: bool) -> None:
    for base, weighting in PAIRS:
        used = scored if weighting in ("nthr", "random", "thr") else others
        said = without_effect(config(), Estimator(base, weighting), with_options(**{option: value}))
        assert (list(said) == []) == used, (base, weighting)


def test_every_option_is_tried() -> None:
    tried = {option.partition(".")[0] for option in CHANGED}
    by_hand = {"base", "weighting", "feature_device", "token_dump_dir", "on_nonfinite"}
    by_hand |= {"monitor_epsilon", "monitor_freq"}
    assert tried | by_hand | {"filter_groups"} == {field.name for field in dataclasses.fields(NTHROptions)}
    assert set(NEEDS) == (tried | by_hand) - {"monitor_freq"}


def test_nothing_has_an_effect_on_verls_estimators() -> None:
    others = {"base": "psr", "weighting": "nthr", "feature_device": "host", "token_dump_dir": "x"}
    others |= {"monitor_epsilon": 1, "on_nonfinite": "raise"}
    for option, value in (CHANGED | others).items():
        (said,) = without_effect(config("grpo"), None, with_options(**{option: value}))
        name = option.partition(".")[0]
        assert said.startswith(f"algorithm.nthr.{name}: without effect on adv_estimator=grpo: it needs ")


@pytest.mark.parametrize("setting", [{"monitor_freq": 1}, {"filter_groups": "all_wrong"}])
def test_what_decides_correctness_serves_what_works_with_every_estimator(setting: dict[str, Any]) -> None:
    options = with_options(**setting, metric="acc", reward_threshold=0.1)
    assert list(without_effect(config("grpo"), None, options)) == []
    assert list(without_effect(config(), Estimator(DR_GRPO), options)) == []


@pytest.mark.parametrize(
    ("base", "weighting", "message"),
    [
        ("psr", "nthr", "algorithm.nthr.weighting=nthr: without effect on base=psr, which has no negative advantage"),
        ("psr", "random", "algorithm.nthr.weighting=random: without effect on base=psr"),
        ("psr", "positive", "algorithm.nthr.weighting=positive: without effect on base=psr"),
        ("nsr", "negative", "algorithm.nthr.weighting=negative: without effect on base=nsr, which has no positive"),
        (
            "grpo_passk",
            "nthr",
            "algorithm.nthr.weighting=nthr: without effect on base=grpo_passk, which has no negative",
        ),
    ],
)
def test_a_weighting_of_advantages_that_the_base_lacks(base: str, weighting: str, message: str) -> None:
    unweighed, weighed = (outcome(base, each, with_options(**USUAL), "token-mean")[0] for each in (None, weighting))
    assert torch.equal(unweighed, weighed)
    with pytest.warns(UserWarning, match=re.escape(message)):
        check_run(of_pair(base, weighting))


@pytest.mark.parametrize(("base", "weighting"), sorted(NOTHING_LEARNED))
def test_a_pair_that_learns_nothing_is_refused(base: str, weighting: str) -> None:
    assert not outcome(base, weighting, with_options(**USUAL), "token-mean")[0].any()
    with pytest.raises(NTHRConfigError, match=f"weighting={weighting} takes away every advantage of base={base}"):
        check_run(of_pair(base, weighting))


def test_all_other_pairs_weigh_something() -> None:
    for base, weighting in PAIRS:
        unweighed, weighed = (outcome(base, each, with_options(**USUAL), "token-mean")[0] for each in (None, weighting))
        is_alike = weighting is None or (base, weighting) in WITHOUT_EFFECT
        assert torch.equal(unweighed, weighed) == is_alike, (base, weighting)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["llds_normalizer=all"], r"llds_normalizer=all: without effect on .*llds_coef=0"),
        (["llds_normalizer=all", "positive_nll_coef=0.1"], r"llds_normalizer=all: without effect on .*llds_coef=0"),
        (["llds_coef=0.1"], r"llds_coef=0\.1: a step is a single update"),
        (["llds_coef=0.1", "llds_normalizer=all"], r"llds_coef=0\.1: a step is a single update"),
    ],
)
def test_loss_terms_without_effect(overrides: list[str], message: str) -> None:
    whole_batch = ["data.train_batch_size=64", f"{ACTOR}.ppo_mini_batch_size=64"]
    settings = [*whole_batch, *(f"{POLICY_LOSS}.{override}" for override in overrides)]
    with pytest.warns(UserWarning, match=message) as caught:
        check_loss_terms(configured("grpo", f"{POLICY_LOSS}._target_={OWN_CLASS}", *settings))
    assert len(caught) == 1


@pytest.mark.parametrize(
    "several",
    [
        [f"{ACTOR}.ppo_mini_batch_size=32"],
        [f"{ACTOR}.ppo_mini_batch_size=64", f"{ACTOR}.ppo_epochs=2"],
        [f"{ACTOR}.ppo_mini_batch_size=64", "trainer.v1.trainer_mode=separate_async"],
    ],
)
def test_llds_with_several_updates_a_step(several: list[str]) -> None:
    settings = [f"{POLICY_LOSS}._target_={OWN_CLASS}", f"{POLICY_LOSS}.llds_coef=0.1", "data.train_batch_size=64"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_loss_terms(configured("grpo", *settings, *several))
