"""Estimators by their names, and by base and weighting."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config.estimators import ESTIMATORS, Estimator, estimator_of
from verl_nthr.integration.config.validation import check_run

ACTOR = "actor_rollout_ref.actor"
NGRPO_CLIP = [f"{ACTOR}.clip_ratio_low=0.16", f"{ACTOR}.clip_ratio_high=0.24", f"{ACTOR}.clip_ratio_c=1e9"]


@cache
def composed() -> DictConfig:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", ["actor_rollout_ref.rollout.n=8"])


def checked(estimator: str, *overrides: str) -> DictConfig:
    """verl's configuration with further settings, which gives no warning."""
    config = composed().copy()
    OmegaConf.set_struct(config, False)
    config = OmegaConf.merge(config, OmegaConf.from_dotlist([f"algorithm.adv_estimator={estimator}", *overrides]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(config)
    return config


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_runs_by_its_one_key(estimator: str) -> None:
    config = checked(estimator, *(NGRPO_CLIP if estimator == "ngrpo" else ()))
    assert estimator_of(config) == ESTIMATORS[estimator]


@pytest.mark.parametrize(
    ("estimator", "override", "pair"),
    [
        ("nthr", "algorithm.nthr.base=ngrpo", ("ngrpo", "nthr")),
        ("ngrpo", "algorithm.nthr.weighting=nthr", ("ngrpo", "nthr")),
        ("thr", "algorithm.nthr.base=rloo", ("rloo", "thr")),
        ("dr_grpo", "algorithm.nthr.weighting=random", ("dr_grpo", "random")),
        ("nthr", "algorithm.nthr.weighting=nthr", ("grpo", "nthr")),
    ],
)
def test_base_and_weighting_are_two_choices(estimator: str, override: str, pair: tuple[str, str]) -> None:
    assert estimator_of(checked(estimator, override, *NGRPO_CLIP)) == Estimator(*pair)
