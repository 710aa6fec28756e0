"""Options: defaults, the packaged configuration, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import warnings

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, open_dict

from verl_nthr.integration.config.checks import check_run
from verl_nthr.integration.config.loss_options import option_names
from verl_nthr.integration.config.options import NTHRConfigError, NTHROptions


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
    assert NTHROptions.from_config(config.algorithm) == NTHROptions()


def test_options_on_the_stock_configuration() -> None:
    config = stock("+algorithm.nthr.beta=-inf", "+algorithm.nthr.eta=1-p", "+algorithm.nthr.reward_threshold=0")
    options = NTHROptions.from_config(config.algorithm)
    assert options == NTHROptions(beta=-math.inf, eta="1-p", reward_threshold=0)
    assert NTHROptions.from_config(stock("+algorithm.nthr.eta=0.25").algorithm).eta == 0.25


def test_the_packaged_configuration_names_every_option_with_its_default() -> None:
    config = packaged()
    check_run(config)
    assert config.algorithm.adv_estimator == "nthr"
    assert OmegaConf.to_container(config.algorithm.nthr) == dataclasses.asdict(NTHROptions())
    assert NTHROptions.from_config(config.algorithm) == NTHROptions()
    assert NTHROptions.from_config(packaged("algorithm.nthr.beta=0").algorithm).beta == 0


def test_the_largest_names_and_values_make_short_messages() -> None:
    for node in ({"x" * 10**7: 1}, {"beta": "x" * 10**7}, {"metric": ["x" * 10**7]}, {"thr": "x" * 10**7}, "x" * 10**7):
        with pytest.raises(NTHRConfigError) as caught:
            NTHROptions.from_config({"nthr": node})
        assert len(str(caught.value)) < 1100


def test_the_packaged_configuration_is_otherwise_verls() -> None:
    ours, verls = packaged(), stock()
    del ours.algorithm.nthr
    policy_loss = ours.actor_rollout_ref.actor.policy_loss
    with open_dict(policy_loss):
        for name in option_names():
            del policy_loss[name]
    policy_loss._target_ = verls.actor_rollout_ref.actor.policy_loss._target_
    assert ours == verls


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+algorithm.nthr.bta=1", r"algorithm\.nthr\.bta=1 is no option; did you mean algorithm\.nthr\.beta\?"),
        ("+algorithm.nthr.zzz=1", "the options are base, weighting, beta, eta"),
        ("+algorithm.nthr.beta=nan", r"algorithm\.nthr\.beta=nan"),
        ("+algorithm.nthr.beta=high", r"algorithm\.nthr\.beta='high'"),
        ("+algorithm.nthr.eta=2", r"algorithm\.nthr\.eta=2: use one of balanced, p, 1-p, or a number in \[0, 1\]"),
        ("+algorithm.nthr.vocabulary=small", r"algorithm\.nthr\.vocabulary='small': use one of response, full"),
        ("+algorithm.nthr.anchor_includes_self=1", r"algorithm\.nthr\.anchor_includes_self=1: use true or false"),
        ("+algorithm.nthr.reward_threshold=half", r"algorithm\.nthr\.reward_threshold='half': use a finite number"),
        ("+algorithm.nthr.monitor_freq=-1", r"algorithm\.nthr\.monitor_freq=-1: use a number of steps"),
        ("+algorithm.nthr.monitor_freq=0.5", r"algorithm\.nthr\.monitor_freq=0\.5: use a number of steps"),
        ("+algorithm.nthr.feature_device=gpu", r"algorithm\.nthr\.feature_device='gpu': use one of auto, device, host"),
        ("+algorithm.nthr.on_nonfinite=stop", r"algorithm\.nthr\.on_nonfinite='stop': use one of fallback, raise"),
        ("+algorithm.nthr.monitor_epsilon=inf", r"algorithm\.nthr\.monitor_epsilon=inf: use a finite number"),
        ("+algorithm.nthr.metric=''", r"algorithm\.nthr\.metric=''"),
        (f"+algorithm.nthr.beta=1{'0' * 400}", r"algorithm\.nthr\.beta=10+: use a real number"),
        (f"+algorithm.nthr.monitor_epsilon=1{'0' * 400}", r"monitor_epsilon=10+…: use a finite number"),
        (f"+algorithm.nthr.lens.all_wrong_weight=1{'0' * 400}", r"all_wrong_weight=10+: use a finite number"),
        ("+algorithm.nthr=[]", r"algorithm\.nthr=\[\]: give options"),
        ("+algorithm.nthr=''", r"algorithm\.nthr='': give options"),
        (f"+algorithm.nthr.metric=[{'x' * 5000}]", r"metric=\['x{197}…: use 'reward'"),
        ("algorithm.filter_groups=True", r"algorithm\.filter_groups=True: give options"),
        ("+algorithm.nthr=1", r"algorithm\.nthr=1: give options"),
        ("actor_rollout_ref.rollout.n=1", r"rollout\.n=1: a group needs several responses"),
        ("actor_rollout_ref.rollout.temperature=0", r"rollout\.temperature=0: .* set it above 0"),
        pytest.param(
            "algorithm.rollout_correction.bypass_mode=True",
            r"bypass_mode=True: bypass mode skips the old-log-prob pass",
            marks=pytest.mark.refuses("trainer: rollout correction's bypass mode"),
        ),
        pytest.param(
            "trainer.use_v1=False",
            r"trainer\.use_v1=False: the legacy trainer is not covered",
            marks=pytest.mark.refuses("trainer: legacy trainer"),
        ),
    ],
)
def test_refusals_name_the_key_the_value_and_the_way_out(override: str, message: str) -> None:
    with pytest.raises(NTHRConfigError, match=message):
        check_run(stock(override))


@pytest.mark.refuses("trainer: engines other than FSDP's and Megatron's")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model_engine=torchtitan"], r"actor\.strategy=torchtitan: this engine is not covered yet"),
        (["model_engine=veomni"], r"actor\.strategy=veomni: this engine is not covered yet"),
        (["actor_rollout_ref.actor.strategy=automodel"], r"actor\.strategy=automodel: this engine is not covered yet"),
        (["actor_rollout_ref.actor.strategy=fsdp_turbo"], r"strategy=fsdp_turbo: this engine is not covered yet"),
        (
            ["model_engine=megatron", "trainer.device=npu"],
            r"trainer\.device=npu: MindSpeed's engine is not covered",
        ),
    ],
)
def test_other_engines_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(NTHRConfigError, match=message):
        check_run(stock(*overrides))


MEGATRON = "actor_rollout_ref.actor.megatron"
REFUSED_ON_MEGATRON = [
    (f"{MEGATRON}.dynamic_context_parallel=True", "dynamic context parallelism"),
    (f"{MEGATRON}.use_megatron_fsdp=True", "Megatron-FSDP"),
    (f"+{MEGATRON}.override_transformer_config.fp8=e4m3", "FP8"),
    (f"{MEGATRON}.qat.enable=True", "quantisation-aware training"),
    ("actor_rollout_ref.model.mtp.enable=True", "multi-token prediction"),
    ("actor_rollout_ref.model.lora.rank=8", "LoRA"),
]


@pytest.mark.parametrize(
    ("override", "what"),
    [
        pytest.param(override, what, marks=pytest.mark.refuses(f"Megatron: {what}"))
        for override, what in REFUSED_ON_MEGATRON
    ],
)
def test_refusals_on_the_megatron_engine(override: str, what: str) -> None:
    with pytest.raises(NTHRConfigError, match=rf"{override.lstrip('+')}: {what}( on Megatron)? is not covered yet"):
        check_run(stock("model_engine=megatron", override))


def test_the_megatron_engine_and_its_fused_kernels_are_covered() -> None:
    parallel = [f"actor_rollout_ref.actor.megatron.{kind}_model_parallel_size=2" for kind in ("tensor", "pipeline")] + [
        "actor_rollout_ref.actor.megatron.context_parallel_size=2"
    ]
    check_run(stock("model_engine=megatron", "actor_rollout_ref.model.use_fused_kernels=True", *parallel))


@pytest.mark.parametrize(
    "override",
    [
        "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2",
        "actor_rollout_ref.model.use_fused_kernels=True",
        "actor_rollout_ref.model.lora_rank=8",
        "trainer.v1.trainer_mode=colocate_async",
        "trainer.v1.trainer_mode=separate_async",
    ],
)
def test_what_is_covered_on_fsdp(override: str) -> None:
    check_run(stock(override))


SEPARATE = ["trainer.v1.trainer_mode=separate_async", "actor_rollout_ref.actor.strategy=fsdp2"]


@pytest.mark.refuses("trainer: separate_async on FSDP2 with weights on the host")
@pytest.mark.parametrize("key", ["param_offload", "offload_policy"])
def test_weights_on_the_host_that_verl_would_not_keep_apart_are_refused(key: str) -> None:
    offload = f"actor_rollout_ref.actor.fsdp_config.{key}=True"
    with pytest.raises(NTHRConfigError, match=rf"actor\.fsdp_config\.{key}=True: verl's copy of the old policy shares"):
        check_run(stock(*SEPARATE, offload))
    for way_out in ("actor_rollout_ref.actor.strategy=fsdp", "trainer.v1.separate_async.parameter_sync_step=1"):
        check_run(stock(*SEPARATE, offload, way_out))
    check_run(stock(*SEPARATE))
    check_run(stock(SEPARATE[1], offload))


def test_the_separate_asynchronous_trainer_without_the_old_log_prob_pass_is_refused() -> None:
    with pytest.raises(NTHRConfigError, match=r"rollout_correction\.bypass_mode=True: bypass mode skips"):
        check_run(stock(*SEPARATE, "algorithm.rollout_correction.bypass_mode=True"))


def test_every_reason_is_listed_at_once() -> None:
    with pytest.raises(NTHRConfigError) as error:
        check_run(stock("actor_rollout_ref.rollout.n=1", "+algorithm.nthr.eta=2"))
    assert "rollout.n=1" in str(error.value)
    assert "eta=2" in str(error.value)


def test_options_without_effect_warn() -> None:
    for options in (["+algorithm.nthr.beta=2"], ["+algorithm.nthr.beta=2", "+algorithm.nthr.monitor_freq=1"]):
        with pytest.warns(
            UserWarning,
            match="algorithm.nthr.beta: without effect on adv_estimator=grpo: it needs a weighting by scores",
        ):
            check_run(stock("algorithm.adv_estimator=grpo", *options))


@pytest.mark.parametrize("options", [[], ["+algorithm.nthr.monitor_freq=5", "+algorithm.nthr.metric=acc"]])
def test_another_estimator_is_checked_for_nothing_but_the_monitor(options: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(stock("algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.n=1", *options))


def test_the_monitor_needs_the_old_log_prob_pass() -> None:
    bypass = "algorithm.rollout_correction.bypass_mode=True"
    check_run(stock("algorithm.adv_estimator=grpo", bypass))
    with pytest.raises(NTHRConfigError, match="bypass_mode=True: bypass mode skips the old-log-prob pass"):
        check_run(stock("algorithm.adv_estimator=grpo", bypass, "+algorithm.nthr.monitor_freq=1"))
