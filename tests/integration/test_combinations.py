"""Which estimators, options and settings of verl do not go together."""

from __future__ import annotations

import re
import warnings
from functools import cache

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config.checks import check_run
from verl_nthr.integration.config.estimators import ESTIMATORS, Estimator, estimator_of
from verl_nthr.integration.config.options import NTHRConfigError

ACTOR = "actor_rollout_ref.actor"
NGRPO_CLIP = [f"{ACTOR}.clip_ratio_low=0.16", f"{ACTOR}.clip_ratio_high=0.24", f"{ACTOR}.clip_ratio_c=1e9"]


@cache
def composed(model_engine: str) -> DictConfig:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [f"model_engine={model_engine}", "actor_rollout_ref.rollout.n=8"])


def configured(estimator: str, *overrides: str, model_engine: str = "dp") -> DictConfig:
    """verl's configuration with further settings; composing it anew for each would take a second."""
    config = composed(model_engine).copy()
    OmegaConf.set_struct(config, False)
    settings = [f"algorithm.adv_estimator={estimator}", *(override.lstrip("+") for override in overrides)]
    return OmegaConf.merge(config, OmegaConf.from_dotlist(settings))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_runs_by_its_one_key(estimator: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(configured(estimator, *(NGRPO_CLIP if estimator == "ngrpo" else ())))


@pytest.mark.parametrize(
    ("estimator", "override", "pair"),
    [
        ("nthr", "+algorithm.nthr.base=ngrpo", ("ngrpo", "nthr")),
        ("ngrpo", "+algorithm.nthr.weighting=nthr", ("ngrpo", "nthr")),
        ("thr", "+algorithm.nthr.base=rloo", ("rloo", "thr")),
        ("dr_grpo", "+algorithm.nthr.weighting=random", ("dr_grpo", "random")),
        ("nthr", "+algorithm.nthr.weighting=nthr", ("grpo", "nthr")),
    ],
)
def test_base_and_weighting_are_two_choices(estimator: str, override: str, pair: tuple[str, str]) -> None:
    config = configured(estimator, override, *NGRPO_CLIP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(config)
    assert estimator_of(config) == Estimator(*pair)


@pytest.mark.parametrize(
    ("estimator", "overrides", "message"),
    [
        ("nthr", ["+algorithm.nthr.weighting=thr"], r"nthr\.weighting=thr: adv_estimator=nthr is named for its weight"),
        ("ngrpo", ["+algorithm.nthr.base=grpo"], r"nthr\.base=grpo: adv_estimator=ngrpo is named for its base"),
        ("nthr", ["+algorithm.nthr.base=gae"], r"nthr\.base='gae': use one of null, grpo, .*, ngrpo, "),
        ("ngrpo", ["+algorithm.nthr.weighting=grpo"], r"nthr\.weighting='grpo': use one of null, nthr, thr"),
        ("psr", ["algorithm.use_kl_in_reward=True"], r"use_kl_in_reward=True: psr looks at correctness alone"),
        (
            "ngrpo",
            ["algorithm.use_kl_in_reward=True"],
            r"use_kl_in_reward=True: NGRPO compares rewards",
        ),
        ("nthr", [f"{ACTOR}.policy_loss.loss_mode=geo_mean"], r"loss_mode=geo_mean: verl takes the mean of a response"),
        ("thr", ["algorithm.rollout_correction.bypass_mode=True"], "bypass_mode=True: bypass mode skips"),
        ("ngrpo", ["actor_rollout_ref.rollout.n=1"], r"rollout\.n=1: a group needs several responses"),
        ("thr", ["+algorithm.nthr.thr.rho=1"], r"algorithm\.nthr\.thr\.rho=1: use"),
        (
            "thr",
            ["+algorithm.nthr.thr.roh=1"],
            r"thr\.roh=1 is no option; did you mean algorithm\.nthr\.thr\.rho",
        ),
        ("s_grpo", ["+algorithm.nthr.s_grpo.noise_rate=0.5"], r"algorithm\.nthr\.s_grpo\.noise_rate=0\.5: use"),
        ("psr", ["trainer.use_v1=False"], r"trainer\.use_v1=False: the legacy trainer is not covered"),
    ],
)
def test_refusals_name_the_key_and_the_way_out(estimator: str, overrides: list[str], message: str) -> None:
    with pytest.raises(NTHRConfigError, match=message):
        check_run(configured(estimator, *overrides))


@pytest.mark.parametrize(
    ("estimator", "overrides", "message"),
    [
        ("ngrpo", [], r"clip_ratio_low=0\.2, clip_ratio_high=0\.2, clip_ratio_c=3\.0: NGRPO's advantages come with"),
        ("nthr", ["+algorithm.nthr.base=ngrpo"], "NGRPO's advantages come with an asymmetric clip"),
        ("psr", ["+algorithm.nthr.beta=0"], r"algorithm\.nthr\.beta: without effect on base=psr, weighting=None"),
        ("thr", ["+algorithm.nthr.eta=0"], r"algorithm\.nthr\.eta: without effect on base=grpo, weighting=thr"),
        ("nthr", ["+algorithm.nthr.thr.rho=0"], r"algorithm\.nthr\.thr: without effect"),
        ("nthr", ["+algorithm.nthr.denominator=all"], r"algorithm\.nthr\.denominator: without effect"),
        ("pos_only", ["+algorithm.nthr.token_dump_dir=x"], r"algorithm\.nthr\.token_dump_dir: without effect"),
        ("s_grpo", ["algorithm.norm_adv_by_std_in_grpo=False"], r"norm_adv_by_std_in_grpo=False: without effect"),
        ("nthr", ["+algorithm.nthr.monitor_epsilon=1"], r"algorithm\.nthr\.monitor_epsilon: without effect"),
    ],
)
def test_warnings_name_the_key(estimator: str, overrides: list[str], message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        check_run(configured(estimator, *overrides))


@pytest.mark.parametrize("estimator", ["psr", "nsr", "w_reinforce"])
def test_rules_without_a_group_take_single_responses(estimator: str) -> None:
    check_run(configured(estimator, "actor_rollout_ref.rollout.n=1"))
    with pytest.raises(NTHRConfigError, match=r"rollout\.n=1"):
        check_run(configured(estimator, "actor_rollout_ref.rollout.n=1", "+algorithm.nthr.weighting=nthr"))


def test_what_scoring_needs_is_not_asked_of_rules_on_rewards() -> None:
    check_run(configured("psr", model_engine="torchtitan"))
    with pytest.raises(NTHRConfigError, match=r"strategy=torchtitan: this engine is not covered"):
        check_run(configured("thr", model_engine="torchtitan"))


FILTER = ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=reward"]


@pytest.mark.parametrize(
    ("estimator", "dropped", "message"),
    [
        ("ngrpo", "homogeneous", r"drops groups that ngrpo learns from \(all_wrong\); set it to all_correct"),
        ("ngrpo", "all_correct", None),
        ("psr", "homogeneous", r"drops groups that psr learns from \(all_correct\); set it to all_wrong"),
        ("psr", "all_wrong", None),
        ("w_reinforce", "all_wrong", r"\(all_wrong\); set it to nothing, and algorithm\.filter_groups\.enable=False"),
        ("reinforce_rej", "homogeneous", None),
        ("nthr", "homogeneous", None),
    ],
)
def test_a_filter_that_drops_groups_with_a_signal_warns(estimator: str, dropped: str, message: str | None) -> None:
    config = configured(estimator, *FILTER, f"algorithm.nthr.filter_groups={dropped}", *NGRPO_CLIP)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_run(config)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == (message is not None)
    assert message is None or re.search(message, texts[0])


def test_options_of_correctness_have_an_effect_on_positive_nll_with_any_estimator() -> None:
    settings = ["algorithm.nthr.reward_threshold=0", f"{ACTOR}.policy_loss.positive_nll_coef=0.1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(configured("grpo", *settings))
    with pytest.warns(UserWarning, match="without effect on adv_estimator=grpo"):
        check_run(configured("grpo", settings[0]))
