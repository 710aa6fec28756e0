"""Wrong configurations of a training run: what refuses or warns of them names the key, the value and the fix."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.cli.training_command import VERLS_CONFIG
from verl_nthr.errors import InputError
from verl_nthr.integration.config.composition import PACKAGED_CONFIG, compose_run
from verl_nthr.integration.config.examination import examine_run

ACTOR, ROLLOUT, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
LOSS, MEGATRON, NTHR = f"{ACTOR}.policy_loss", f"{ACTOR}.megatron", "+algorithm.nthr"
CLASS = f"{LOSS}._target_=verl_nthr.integration.policy_loss.PolicyLossConfig"
LLDS = f"{CLASS} +{LOSS}.llds_coef=0.1"
RIGHT = (
    "algorithm.adv_estimator=nthr",
    *(f"{ROLLOUT}.name=vllm", f"{ROLLOUT}.n=8", f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=1"),
    *(f"{ACTOR}.ppo_micro_batch_size_per_gpu=1", "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=1"),
)
DROP = "+algorithm.filter_groups.drop=all_wrong"
BYPASS = "algorithm.rollout_correction.bypass_mode=True"
FILTER = "algorithm.filter_groups.enable=True"
SAMPLER = "trainer.v1.sampler.custom_sampler"
RUNTIME_ENV = "+ray_kwargs.ray_init.runtime_env.env_vars"
SEPARATE = f"trainer.v1.trainer_mode=separate_async {ACTOR}.strategy=fsdp2"
HUGE = f"1{'0' * 400}"

Rows = Sequence[tuple[str, str]]
"""Overrides on the right ones, and facts that one message must name; both separated by spaces."""


def estimator(name: str) -> str:
    return f"algorithm.adv_estimator={name}"


OPTIONS: Rows = [
    (f"{NTHR}.bta=1", "algorithm.nthr.bta=1 algorithm.nthr.beta"),
    (f"{NTHR}.zzz=1", "algorithm.nthr.zzz=1 base, weighting, beta, eta,"),
    ("algorithm.nthr.beta=1", "+algorithm.nthr.beta"),
    (f"{NTHR}=1", "algorithm.nthr=1 algorithm.nthr.beta=1.0"),
    (f"{NTHR}=[]", "algorithm.nthr=[]"),
    ("+algorithm.thr=0.1", "algorithm.thr=0.1 algorithm.thr.rho=0.1"),
    ("algorithm.filter_groups=True", "algorithm.filter_groups=True algorithm.filter_groups.enable=True"),
    *((f"{NTHR}.beta={value}", f"algorithm.nthr.beta={value} real -inf") for value in ("nan", "inf", HUGE)),
    (f"{NTHR}.beta=high", "algorithm.nthr.beta='high' -inf"),
    (f"{NTHR}.eta=2", "algorithm.nthr.eta=2 balanced, p, 1-p,"),
    (f"{NTHR}.vocabulary=small", "algorithm.nthr.vocabulary='small' response, full"),
    (f"{NTHR}.anchor_includes_self=1", "algorithm.nthr.anchor_includes_self=1 true false"),
    (f"{NTHR}.reward_threshold=half", "algorithm.nthr.reward_threshold='half' finite"),
    (f"{NTHR}.metric=''", "algorithm.nthr.metric='' reward"),
    (f"{NTHR}.feature_device=gpu", "algorithm.nthr.feature_device='gpu' auto, device, host"),
    (f"{NTHR}.token_dump_dir=1", "algorithm.nthr.token_dump_dir=1 path"),
    (f"{NTHR}.on_nonfinite=stop", "algorithm.nthr.on_nonfinite='stop' fallback, raise"),
    ("+algorithm.filter_groups.drop=mixed", "algorithm.filter_groups.drop='mixed' homogeneous, all_correct, all_wrong"),
    (
        "+algorithm.filter_groups.drops=all_wrong",
        "filter_groups.drops='all_wrong' filter_groups.drop?",
    ),
    ("+algorithm.lld_montior.freq=5", "algorithm.lld_montior algorithm.lld_monitor?"),
    ("+algorithm.lld_monitor.freq=0.5", "algorithm.lld_monitor.freq=0.5 steps"),
    ("+algorithm.lld_monitor.freq=-1", "algorithm.lld_monitor.freq=-1 steps"),
    ("+algorithm.lld_monitor.epsilon=inf", "algorithm.lld_monitor.epsilon=inf finite"),
    ("+algorithm.loss_denominator=kept", "algorithm.loss_denominator='kept' kept_tokens, all_tokens"),
    ("+algorithm.thr.rho=1", "algorithm.thr.rho=1 between -1 and 1"),
    ("+algorithm.thr.roh=0.2", "algorithm.thr.roh=0.2 algorithm.thr.rho?"),
    ("+algorithm.w_reinforce.positive_weight=-1", "algorithm.w_reinforce.positive_weight=-1 at least 0"),
    ("+algorithm.s_grpo.noise_rate=0.5", "algorithm.s_grpo.noise_rate=0.5 [0, 0.5)"),
    (f"+algorithm.lens.all_wrong_weight={HUGE}", f"algorithm.lens.all_wrong_weight={HUGE} finite"),
    ("+algorithm.ngrpo.max_reward=inf", "algorithm.ngrpo.max_reward=inf finite"),
]

RENAMED: Rows = [
    (f"{NTHR}.filter_groups=all_wrong", "algorithm.nthr.filter_groups algorithm.filter_groups.drop"),
    (f"{NTHR}.monitor_freq=5", "algorithm.nthr.monitor_freq=5 algorithm.lld_monitor.freq"),
    (f"{NTHR}.monitor_epsilon=1", "algorithm.nthr.monitor_epsilon=1 algorithm.lld_monitor.epsilon"),
    (f"{NTHR}.denominator=all", "algorithm.nthr.denominator algorithm.loss_denominator=kept_tokens|all_tokens"),
    *(
        (f"{NTHR}.{name}.x=1", f"algorithm.nthr.{name} algorithm.{name} now")
        for name in ("thr", "ngrpo", "w_reinforce")
    ),
    *(
        (f"{NTHR}.{name}.x=1", f"algorithm.nthr.{name} algorithm.{name} now")
        for name in ("thr", "ngrpo", "w_reinforce", "s_grpo", "lens")
    ),
]

ESTIMATORS: Rows = [
    (estimator("nhtr"), "algorithm.adv_estimator=nhtr nthr, grpo,"),
    (f"{estimator('gae')} critic.enable=False", "algorithm.adv_estimator=gae critic.enable=True"),
    (f"{NTHR}.base=gae", "algorithm.nthr.base='gae' grpo, ngrpo,"),
    (f"{NTHR}.weighting=grpo", "algorithm.nthr.weighting='grpo' nthr, thr,"),
    (f"{NTHR}.weighting=thr", "algorithm.nthr.weighting=thr adv_estimator=nthr null"),
    (f"{estimator('psr')} {NTHR}.base=grpo", "algorithm.nthr.base=grpo adv_estimator=psr null"),
    (f"{estimator('psr')} {NTHR}.weighting=negative", "algorithm.nthr.weighting=negative base=psr"),
    (f"{estimator('nsr')} {NTHR}.weighting=positive", "algorithm.nthr.weighting=positive base=nsr"),
    (f"{estimator('psr')} algorithm.use_kl_in_reward=True", "algorithm.use_kl_in_reward=True psr use_kl_loss=True"),
    (f"{estimator('ngrpo')} algorithm.use_kl_in_reward=True", "use_kl_in_reward=True algorithm.ngrpo.max_reward"),
    (f"{LOSS}.loss_mode=geo_mean", "loss_mode=geo_mean vanilla gspo"),
    (f"{estimator('psr')} {NTHR}.weighting=nthr {NTHR}.metric=advantage", "metric=advantage psr reward"),
    (f"{DROP} {FILTER} {NTHR}.metric=advantage", "metric=advantage drop=all_wrong drop=homogeneous"),
    (
        f"{estimator('gae')} +algorithm.lld_monitor.freq=1 {NTHR}.metric=advantage critic.enable=True",
        "metric=advantage gae",
    ),
]

SETTINGS: Rows = [
    (f"{ROLLOUT}.n=1", f"{ROLLOUT}.n=1 2"),
    (f"{ROLLOUT}.n=many", f"{ROLLOUT}.n=many 2"),
    (f"{estimator('ngrpo')} {ROLLOUT}.n=1", f"{ROLLOUT}.n=1 2"),
    (f"{estimator('psr')} {NTHR}.weighting=nthr {ROLLOUT}.n=1", f"{ROLLOUT}.n=1 2"),
    (f"{ROLLOUT}.temperature=0", f"{ROLLOUT}.temperature=0 above 0"),
    (BYPASS, f"{BYPASS} False"),
    (
        f"{SEPARATE} algorithm.rollout_correction.bypass_mode=True",
        "algorithm.rollout_correction.bypass_mode=True False",
    ),
    (
        f"{estimator('grpo')} +algorithm.lld_monitor.freq=1 algorithm.rollout_correction.bypass_mode=True",
        "bypass_mode=True",
    ),
    ("trainer.use_v1=False", "trainer.use_v1=False True"),
    (f"{estimator('psr')} trainer.use_v1=False", "trainer.use_v1=False True"),
    ("trainer.v1.trainer_mode=async", "trainer.v1.trainer_mode=async sync, colocate_async, separate_async"),
    (
        "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_PLUGINS=other",
        "VERL_USE_EXTERNAL_PLUGINS=other nthr",
    ),
    *(
        (override, f"{override.lstrip('+')} reward.{fix}")
        for override, fix in (
            ("custom_reward_function.path=/x/f.py", "custom_reward_function.path=/x/f.py"),
            ("custom_reward_function.name=f", "custom_reward_function.name=f"),
            ("reward_model.enable=True", "reward_model.enable=True"),
            ("reward_model.reward_manager=dapo", "reward_manager.name=dapo"),
            ("reward_model.model.path=a/b", "reward_model.model_path=a/b"),
            ("reward_model.rollout.max_num_seqs=7", "reward_model.rollout.max_num_seqs=7"),
            ("+reward_model.reward_kwargs.max_resp_len=9", "reward_kwargs.max_resp_len=9"),
            ("sandbox_fusion.url=http://x", "sandbox_fusion.url=http://x"),
        )
    ),
    *((f"model_engine={name}", f"{ACTOR}.strategy={name} fsdp, fsdp2, megatron") for name in ("torchtitan", "veomni")),
    *((f"{ACTOR}.strategy={name}", f"{ACTOR}.strategy={name} fsdp2") for name in ("automodel", "fsdp_turbo", "fsdp3")),
    ("model_engine=megatron2", "model_engine megatron2"),
    *(
        (f"{SEPARATE} {ACTOR}.fsdp_config.{key}=True", f"{key}=True strategy=fsdp, parameter_sync_step=1")
        for key in ("param_offload", "offload_policy")
    ),
    ("model_engine=megatron trainer.device=npu", f"trainer.device=npu {ACTOR}.strategy=fsdp2"),
    *(
        (f"model_engine=megatron {override}", f"{override.lstrip('+')} {fix}")
        for override, fix in (
            (f"{MEGATRON}.dynamic_context_parallel=True", "False"),
            (f"{MEGATRON}.use_megatron_fsdp=True", "False"),
            (f"+{MEGATRON}.override_transformer_config.fp8=e4m3", "null"),
            (f"{MEGATRON}.qat.enable=True", "False"),
            (f"{MODEL}.mtp.enable=True", "False"),
            (f"{MODEL}.lora.rank=8", "0"),
        )
    ),
    *(
        (f"{key}=0", f"{key}=0 1")
        for key in ("data.train_batch_size", "trainer.nnodes", f"{ACTOR}.ppo_mini_batch_size", f"{ACTOR}.ppo_epochs")
    ),
    ("data.train_batch_size=many", "data.train_batch_size=many 1"),
    (
        f"{FILTER} algorithm.filter_groups.metric=acc +algorithm.filter_groups.drop=all_wrong",
        "metric=acc metric=reward",
    ),
    (
        f"{DROP} {SAMPLER}.path=sampler.py {SAMPLER}.name=Sampler",
        "custom_sampler.path=sampler.py null algorithm.filter_groups.drop=homogeneous",
    ),
]

LOSS_TERMS: Rows = [
    (f"+{LOSS}.llds_coef=0.1", f"{LOSS}.llds_coef=0.1 {CLASS}"),
    (f"{CLASS} +{LOSS}.llds_coef=-0.1", f"{LOSS}.llds_coef=-0.1 finite"),
    (f"{CLASS} +{LOSS}.llds_coef=null", f"{LOSS}.llds_coef=None finite"),
    (f"{CLASS} +{LOSS}.positive_nll_coef=high", f"{LOSS}.positive_nll_coef='high' finite"),
    (f"{LLDS} +{LOSS}.llds_normalizer=tokens", f"{LOSS}.llds_normalizer='tokens' preserved, all"),
    (f"{CLASS} +{LOSS}.lds_coef=0.1", "lds_coef"),
    *(
        (f"{estimator('grpo')} {LLDS} {override}", f"{override} {fix}")
        for override, fix in (
            ("trainer.use_v1=False", "True"),
            (BYPASS, "False"),
            ("distillation.enabled=True", "False"),
        )
    ),
    (f"{estimator('grpo')} {LLDS} model_engine=veomni", f"{ACTOR}.strategy=veomni megatron"),
    (
        f"{estimator('grpo')} {LLDS} model_engine=megatron {MEGATRON}.dynamic_context_parallel=True",
        "dynamic_context_parallel=True False",
    ),
]

OF_VERL: Rows = [
    (f"{ROLLOUT}.name=???", f"{ROLLOUT}.name missing"),
    (f"{ACTOR}.ppo_micro_batch_size_per_gpu=null", "ppo_micro_batch_size_per_gpu"),
    (f"{ACTOR}.loss_agg_mode=mean", "loss_agg_mode mean"),
    (f"{ACTOR}.ppo_mini_batch_size=2048", "1024 2048"),
    ("data.train_batch_size=1000 trainer.n_gpus_per_node=3", "8000 3"),
    ("trainer.n_gpus_per_node=0", "ZeroDivisionError"),
    ("data.train_files=[a", "[a"),
    ("algorithm.adv_estimator", "algorithm.adv_estimator"),
]

FILES: Rows = [
    ("data.train_files=/nonexistent/train.parquet", "data.train_files /nonexistent/train.parquet"),
    ("data.val_files=[/nonexistent/a.parquet,/nonexistent/b.parquet]", "data.val_files /nonexistent/b.parquet"),
    ("reward.custom_reward_function.path=/nonexistent/reward.py", "custom_reward_function.path /nonexistent/reward.py"),
    (
        "reward.custom_reward_function.path=FOLDER/reward.py",
        "name=compute_score FOLDER/reward.py",
    ),
    (f"{MODEL}.path=/nonexistent/model", f"{MODEL}.path /nonexistent/model config.json"),
]

WARNED: Rows = [
    (estimator("ngrpo"), "clip_ratio_low=0.2 clip_ratio_high=0.2 clip_ratio_c=3.0 0.16, 0.24 1e9"),
    (f"{NTHR}.base=ngrpo {ACTOR}.clip_ratio_c=none", "clip_ratio_c=none 1e9"),
    (f"{ROLLOUT}.full_determinism=True", f"{ROLLOUT}.full_determinism=True False"),
    (
        "+reward.reward_kwargs.overlong_buffer_cfg.enable=True",
        "overlong_buffer_cfg.enable=True algorithm.nthr.reward_threshold=0.5 algorithm.nthr.metric=acc",
    ),
    (
        "reward.reward_model.enable=True",
        "reward_model.enable=True algorithm.nthr.reward_threshold=0.5 algorithm.nthr.metric=advantage",
    ),
    (
        f"{FILTER} algorithm.filter_groups.metric=acc",
        "algorithm.filter_groups.metric=acc algorithm.nthr.metric=reward",
    ),
    (
        f"{NTHR}.metric=advantage {NTHR}.reward_threshold=0",
        "algorithm.nthr.reward_threshold=0 metric other than advantage",
    ),
    (f"{estimator('grpo')} {NTHR}.beta=0", "algorithm.nthr.beta=0.0 nthr, random, thr"),
    (f"{estimator('pos_only')} {NTHR}.token_dump_dir=x", "algorithm.nthr.token_dump_dir=x nthr, random, thr"),
    (f"{estimator('thr')} {NTHR}.eta=0", "algorithm.nthr.eta=0 nthr random"),
    ("+algorithm.thr.rho=0", "algorithm.thr.rho=0 thr"),
    ("+algorithm.lens.all_wrong_weight=1", "algorithm.lens.all_wrong_weight=1.0 lens"),
    ("+algorithm.loss_denominator=all_tokens", "algorithm.loss_denominator=all_tokens psr, nsr reinforce_rej"),
    ("+algorithm.lld_monitor.epsilon=0.1", "algorithm.lld_monitor.epsilon=0.1 lld_monitor.freq"),
    (DROP, f"algorithm.filter_groups.drop=all_wrong {FILTER}"),
    (f"{estimator('lens')} {FILTER}", "lens all_wrong algorithm.filter_groups.drop=all_correct"),
    (f"{estimator('psr')} {FILTER}", "psr all_correct algorithm.filter_groups.drop=all_wrong"),
    (f"{estimator('w_reinforce')} {FILTER}", "w_reinforce all_wrong, all_correct algorithm.filter_groups.enable=False"),
    (f"{LLDS} data.train_batch_size=256", "llds_coef=0.1 ppo_mini_batch_size data.train_batch_size=256"),
]

UNOBJECTIONABLE = [
    "",
    "model_engine=megatron actor_rollout_ref.model.use_fused_kernels=True",
    f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=2",
    "trainer.v1.trainer_mode=colocate_async",
    f"reward.reward_model.enable=True {NTHR}.metric=advantage",
    f"+reward.reward_kwargs.overlong_buffer_cfg.enable=True {NTHR}.metric=acc",
    f"{FILTER} algorithm.filter_groups.metric=acc {NTHR}.metric=acc",
    SEPARATE,
    f"{SEPARATE} {ACTOR}.fsdp_config.param_offload=True trainer.v1.separate_async.parameter_sync_step=1",
    f"{ACTOR}.strategy=fsdp2 {ACTOR}.fsdp_config.param_offload=True",
    f"{estimator('psr')} {ROLLOUT}.n=1 model_engine=torchtitan",
    f"{estimator('reinforce_rej')} {FILTER}",
    f"{estimator('psr')} {FILTER} {DROP}",
    f"{estimator('grpo')} {ROLLOUT}.n=1 trainer.use_v1=False",
    f"{estimator('grpo')} {ROLLOUT}.n=1 +algorithm.lld_monitor.freq=5 {NTHR}.metric=acc",
    f"{estimator('grpo')} {CLASS} +{LOSS}.positive_nll_coef=0.1 {NTHR}.reward_threshold=0",
    f"{LLDS} data.train_batch_size=512",
    f"{LLDS} data.train_batch_size=256 {ACTOR}.ppo_epochs=2",
]


@cache
def base(config: tuple[str, str], *groups: str) -> DictConfig:
    return compose_run(groups, *config)


def composed(overrides: Sequence[str], config: tuple[str, str] = VERLS_CONFIG) -> DictConfig:
    """As :func:`compose_run`, but the files that verl's configuration is composed of are read once."""
    groups = [override for override in overrides if override.startswith("model_engine=")]
    try:
        values = OverridesParser.create().parse_overrides([each for each in overrides if each not in groups])
        found = copy.deepcopy(base(config, *groups))
        ConfigLoaderImpl._apply_overrides_to_config(values, found)
    except (HydraException, OmegaConfBaseException):
        return compose_run(overrides, *config)
    return found


def messages(overrides: str, folder: Path, config: tuple[str, str] = VERLS_CONFIG) -> tuple[list[str], list[str]]:
    """Problems and warnings, as ``verl-nthr doctor --config`` finds them."""
    given = [*RIGHT, *overrides.replace("FOLDER", str(folder)).split()]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            found = composed(given, config)
        except InputError as error:
            return [str(error)], []
        report = examine_run(found, files="/" in overrides)
    return report.problems, report.warnings


def unnamed(rows: Rows, folder: Path, *, warned: bool = False) -> Iterator[str]:
    """The rows of which no message names all facts."""
    for overrides, facts in rows:
        said = messages(overrides, folder)[warned]
        named = facts.replace("FOLDER", str(folder)).split()
        if not any(all(fact in message for fact in named) for message in said):
            yield f"{overrides[:200]}: {facts[:200]}\n    " + "\n    ".join(said)


@pytest.mark.refuses(
    *("trainer: rollout correction's bypass mode", "trainer: legacy trainer"),
    *("trainer: engines other than FSDP's and Megatron's", "trainer: separate_async on FSDP2 with weights on the host"),
    *("Megatron: dynamic context parallelism", "Megatron: Megatron-FSDP", "Megatron: FP8", "Megatron: LoRA"),
    *("Megatron: quantisation-aware training", "Megatron: multi-token prediction"),
)
def test_a_refusal_names_the_key_the_value_and_the_fix(tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("def score():\n    return 1.0\n", encoding="utf-8")
    rows = [*OPTIONS, *RENAMED, *ESTIMATORS, *SETTINGS, *LOSS_TERMS, *OF_VERL, *FILES]
    assert not (failures := list(unnamed(rows, tmp_path))), "\n".join(failures)


def test_a_warning_names_the_key_and_the_fix_and_the_run_goes_on(tmp_path: Path) -> None:
    assert not (failures := list(unnamed(WARNED, tmp_path, warned=True))), "\n".join(failures)
    assert not [overrides for overrides, _ in WARNED if messages(overrides, tmp_path)[0]]


def test_of_other_runs_nothing_is_said(tmp_path: Path) -> None:
    said = {overrides: messages(overrides, tmp_path) for overrides in UNOBJECTIONABLE}
    of_verl = "set sequence parallel to false as TP size is 1"
    assert not {key: value for key, value in said.items() if value[0] or set(value[1]) - {of_verl}}


def test_every_reason_is_named_at_once(tmp_path: Path) -> None:
    overrides = f"{ROLLOUT}.n=1 {NTHR}.eta=2 +{LOSS}.llds_coef=0.1 {ACTOR}.loss_agg_mode=mean"
    problems = "\n".join(messages(overrides, tmp_path)[0])
    assert all(fact in problems for fact in (f"{ROLLOUT}.n=1", "eta=2", "llds_coef=0.1", "loss_agg_mode: mean"))


def test_the_packaged_configuration_refuses_typos_and_names_what_was_renamed(tmp_path: Path) -> None:
    for override, fact in (
        ("algorithm.nthr.betta=1", "algorithm.nthr.betta"),
        ("+algorithm.nthr.beta=1", "algorithm.nthr.beta=1"),
        ("algorithm.nthr.monitor_freq=5", "algorithm.lld_monitor.freq"),
    ):
        assert fact in messages(override, tmp_path, PACKAGED_CONFIG)[0][0]


@pytest.mark.parametrize("changes", [["+algorithm.nthr.beta=high"], ["model_engine=megatron", "trainer.use_v1=False"]])
def test_composing_by_parts_is_composing(changes: list[str]) -> None:
    assert composed([*RIGHT, *changes]) == compose_run([*RIGHT, *changes], *VERLS_CONFIG)
