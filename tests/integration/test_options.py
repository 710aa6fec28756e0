"""Options below ``algorithm``: defaults, and the packaged configuration."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, open_dict

from verl_nthr.integration.config.loss_options import option_names
from verl_nthr.integration.config.nodes import NTHRConfigError
from verl_nthr.integration.config.options import OWN_KEYS, AlgorithmOptions, NTHROptions
from verl_nthr.integration.config.validation import check_run


def stock(*overrides: str) -> DictConfig:
    """verl's own configuration with NTHR switched on by its one key."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", ["algorithm.adv_estimator=nthr", "actor_rollout_ref.rollout.n=8", *overrides])


def packaged(*overrides: str) -> DictConfig:
    with initialize_config_module("verl_nthr.config", version_base=None):
        return compose("nthr_trainer", ["actor_rollout_ref.rollout.n=8", *overrides])


def test_one_key_is_enough() -> None:
    config = stock()
    check_run(config)
    assert AlgorithmOptions.from_config(config.algorithm) == AlgorithmOptions()


def test_options_on_the_stock_configuration() -> None:
    config = stock("+algorithm.nthr.beta=-inf", "+algorithm.nthr.eta=1-p", "+algorithm.lld_monitor.freq=3")
    options = AlgorithmOptions.from_config(config.algorithm)
    assert options.nthr == NTHROptions(beta=-math.inf, eta="1-p")
    assert (options.lld_monitor.freq, options.filter_groups.drop) == (3, "homogeneous")
    assert AlgorithmOptions.from_config(stock("+algorithm.nthr.eta=0.25").algorithm).nthr.eta == 0.25


def test_the_packaged_configuration_names_every_option_with_its_default() -> None:
    config = packaged()
    check_run(config)
    assert config.algorithm.adv_estimator == "nthr"
    defaults = dataclasses.asdict(AlgorithmOptions())
    drop = defaults.pop("filter_groups")["drop"]
    assert {key: OmegaConf.to_container(config.algorithm)[key] for key in OWN_KEYS} == defaults
    assert config.algorithm.filter_groups.drop == drop
    assert AlgorithmOptions.from_config(packaged("algorithm.nthr.beta=0").algorithm).nthr.beta == 0


def test_the_packaged_configuration_is_otherwise_verls() -> None:
    ours, verls = packaged(), stock()
    policy_loss = ours.actor_rollout_ref.actor.policy_loss
    with open_dict(ours):
        for key in OWN_KEYS:
            del ours.algorithm[key]
        del ours.algorithm.filter_groups.drop
        for name in option_names():
            del policy_loss[name]
    policy_loss._target_ = verls.actor_rollout_ref.actor.policy_loss._target_
    assert ours == verls


def test_the_largest_names_and_values_make_short_messages() -> None:
    for node in ({"x" * 10**7: 1}, {"beta": "x" * 10**7}, {"metric": ["x" * 10**7]}, {"thr": "x" * 10**7}, "x" * 10**7):
        with pytest.raises(NTHRConfigError) as caught:
            AlgorithmOptions.from_config({"nthr": node})
        assert len(str(caught.value)) < 1100
