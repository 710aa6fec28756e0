"""Options of the loss terms: verl takes them by our class, and what cannot work is refused before Ray starts."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.integration.test_options import packaged, stock
from verl_nthr.integration.config.checks import check_run
from verl_nthr.integration.config.loss_checks import OWN_CLASS, check_loss_terms
from verl_nthr.integration.config.loss_options import POLICY_LOSS, LossTerms, option_names
from verl_nthr.integration.config.options import NTHRConfigError

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
    check_loss_terms(config)
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
    check_loss_terms(config)
    config = packaged(f"model_engine={engine}", MICRO_BATCH, f"{POLICY_LOSS}.llds_coef=0.3")
    check_loss_terms(config)
    assert f"{type(built(config)).__module__}.{type(built(config)).__qualname__}" == OWN_CLASS
    assert built(config).llds_coef == 0.3


def test_an_option_without_its_class_is_refused_with_the_way_out() -> None:
    with pytest.raises(NTHRConfigError, match=rf"{POLICY_LOSS}\.llds_coef=0\.1 is no option of .*; add {CLASS}"):
        check_loss_terms(stock(LLDS))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("llds_coef=-0.1", r"llds_coef=-0\.1: use a finite number, 0 for none"),
        ("llds_coef=null", "llds_coef=None: use a finite number"),
        ("llds_coef=true", "llds_coef=True: use a finite number"),
        ("positive_nll_coef=inf", "positive_nll_coef=inf: use a finite number"),
        ("positive_nll_coef=high", "positive_nll_coef='high': use a finite number"),
        ("llds_normalizer=tokens", "llds_normalizer='tokens': use one of preserved, all"),
    ],
)
def test_bad_values_name_the_key_and_the_way_out(option: str, message: str) -> None:
    name, value = option.split("=")
    message = rf"actor_rollout_ref\.actor\.policy_loss\.{message}"
    with pytest.raises(NTHRConfigError, match=message):
        check_loss_terms(stock(CLASS, f"+{POLICY_LOSS}.{option}"))
    numbers = {"inf": float("inf"), "null": None, "true": True, "-0.1": -0.1}
    with pytest.raises(ValueError, match=message):
        LossTerms(**{name: numbers.get(value, value)})


REFUSED = [
    ("trainer.use_v1=False", "the legacy trainer is not covered"),
    ("algorithm.rollout_correction.bypass_mode=True", "bypass mode has no log-probs of the policy before the update"),
    ("distillation.enabled=True", "distillation's loss is not covered"),
    ("model_engine=veomni", "this engine is not covered"),
]


@pytest.mark.parametrize(("override", "message"), REFUSED)
def test_what_the_terms_cannot_run_with_is_refused(override: str, message: str) -> None:
    check_loss_terms(stock(CLASS, f"+{POLICY_LOSS}.llds_coef=0", override))
    with pytest.raises(NTHRConfigError, match=message):
        check_loss_terms(stock(CLASS, LLDS, override))


def test_dynamic_context_parallelism_is_refused() -> None:
    override = "actor_rollout_ref.actor.megatron.dynamic_context_parallel=True"
    with pytest.raises(NTHRConfigError, match=f"{override}: dynamic context parallelism is not covered"):
        check_loss_terms(stock(CLASS, LLDS, "model_engine=megatron", override))


def test_a_run_without_the_options_is_checked_for_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_loss_terms(stock("trainer.use_v1=False", "distillation.enabled=True"))


def test_what_decides_correctness_serves_positive_nll_with_every_estimator() -> None:
    settings = ["algorithm.adv_estimator=grpo", "+algorithm.nthr.reward_threshold=0", CLASS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(stock(*settings, f"+{POLICY_LOSS}.positive_nll_coef=0.1"))
    with pytest.warns(UserWarning, match="without effect on adv_estimator=grpo"):
        check_run(stock(*settings, LLDS))


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
