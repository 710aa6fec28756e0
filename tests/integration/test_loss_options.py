"""Options of the loss terms: verl takes them by our class, and what cannot work is refused before Ray starts."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.integration.test_options import packaged, stock
from verl_nthr.integration.config.loss_options import POLICY_LOSS, LossTerms, option_names
from verl_nthr.integration.config.nodes import NTHRConfigError
from verl_nthr.integration.config.validation import OWN_CLASS, check_run

CLASS = f"{POLICY_LOSS}._target_={OWN_CLASS}"
MICRO_BATCH = "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1"
LLDS = f"+{POLICY_LOSS}.llds_coef=0.1"


def built(config: DictConfig) -> Any:
    """The actor's ``policy_loss`` as verl's workers get it."""
    from verl.utils.config import omega_conf_to_dataclass

    return omega_conf_to_dataclass(config.actor_rollout_ref.actor).policy_loss


@pytest.mark.parametrize("engine", ["dp", "megatron"])
def test_verl_builds_our_class_from_its_own_configuration(engine: str) -> None:
    from verl.workers.config import PolicyLossConfig

    options = [CLASS, LLDS, f"+{POLICY_LOSS}.positive_nll_coef=1", f"{POLICY_LOSS}.loss_mode=gspo"]
    config = stock(f"model_engine={engine}", MICRO_BATCH, *options)
    check_run(config)
    found = built(config)
    assert isinstance(found, PolicyLossConfig)
    assert f"{type(found).__module__}.{type(found).__qualname__}" == OWN_CLASS
    assert (found.loss_mode, found.llds_coef, found.positive_nll_coef) == ("gspo", 0.1, 1)
    terms = LossTerms.from_config(config.actor_rollout_ref.actor.policy_loss)
    assert terms == LossTerms(positive_nll_coef=1, llds_coef=0.1)
    assert terms.is_active


@pytest.mark.parametrize("engine", ["dp", "megatron"])
def test_the_packaged_configuration_needs_neither_class_nor_plus(engine: str) -> None:
    config = packaged(f"model_engine={engine}", MICRO_BATCH)
    assert LossTerms.from_config(config.actor_rollout_ref.actor.policy_loss) == LossTerms()
    assert not LossTerms().is_active
    assert set(option_names()) <= set(config.actor_rollout_ref.actor.policy_loss)
    check_run(config)
    config = packaged(f"model_engine={engine}", MICRO_BATCH, f"{POLICY_LOSS}.llds_coef=0.3")
    check_run(config)
    assert f"{type(built(config)).__module__}.{type(built(config)).__qualname__}" == OWN_CLASS
    assert built(config).llds_coef == 0.3


def test_a_run_without_the_options_is_checked_for_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(stock("algorithm.adv_estimator=grpo", "trainer.use_v1=False", "distillation.enabled=True"))


def test_verls_validation_comes_after_ours() -> None:
    from verl.utils.config import validate_config

    with pytest.raises(NTHRConfigError, match=f"add {CLASS}"):
        validate_config(stock(LLDS), use_reference_policy=False, use_critic=False)


def test_a_process_without_the_plugin_does_not_drop_the_terms_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl_nthr.integration.policy_loss import PolicyLossConfig

    assert PolicyLossConfig(llds_coef=0.1).is_active
    monkeypatch.delitem(sys.modules, "verl_nthr.integration.plugin")
    assert not PolicyLossConfig().is_active
    with pytest.raises(
        RuntimeError, match="verl has not loaded verl-nthr's plugin in this process; unset VERL_USE_EXT"
    ):
        PolicyLossConfig(llds_coef=0.1)
