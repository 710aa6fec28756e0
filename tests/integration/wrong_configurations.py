"""Wrong configurations of a training run, and what each is told.

``python -m tests.integration.wrong_configurations`` writes ``wrong_configurations.md`` beside this file anew.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.cli.run_config import PACKAGED_CONFIG, RunConfigError, check, compose_run, missing_files
from verl_nthr.cli.training_command import VERLS_CONFIG

PAGE = Path(__file__).with_suffix(".md")
HEAD = """<!-- python -m tests.integration.wrong_configurations -->
# Wrong configurations, and what each is told

`FOLDER` stands for a folder of the test. What is refused, is refused before Ray starts, or by
`verl-nthr doctor --config` alone: missing files, unknown estimators.
The settings of each are added to these, which are right:

    {right}
"""

ACTOR, ROLLOUT, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
LOSS, MEGATRON, NTHR = f"{ACTOR}.policy_loss", f"{ACTOR}.megatron", "+algorithm.nthr"
LOSS_CLASS = f"{LOSS}._target_=verl_nthr.integration.policy_loss.PolicyLossConfig"
RIGHT = (
    "algorithm.adv_estimator=nthr",
    *(f"{ROLLOUT}.name=vllm", f"{ROLLOUT}.n=8", f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=1"),
    *(f"{ACTOR}.ppo_micro_batch_size_per_gpu=1", "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=1"),
)
LOOPS = f"{ROLLOUT}.agent.agent_loop_config_path=FOLDER/igrpo.yaml"
IGRPO = (LOOPS, f"{ROLLOUT}.agent.default_agent_loop=igrpo", "data.max_prompt_length=2048")


@dataclass(frozen=True)
class Case:
    """A wrong configuration."""

    overrides: tuple[str, ...]
    """hydra's, after :data:`RIGHT`; ``FOLDER`` is replaced."""

    is_packaged: bool = False
    """Whether it is set on this package's configuration, not on verl's."""

    loop: str = ""
    """Options of iGRPO in ``FOLDER/igrpo.yaml``."""

    checks_files: bool = False
    """Whether it is about files."""

    @property
    def title(self) -> str:
        """Its heading."""
        parts = [*(("packaged configuration",) if self.is_packaged else ()), *self.overrides]
        return ", ".join(f"`{part}`" for part in [*parts, *((self.loop,) if self.loop else ())])


def case(*overrides: str, **others: object) -> Case:
    return Case(overrides, **others)


CASES: tuple[Case, ...] = (
    # keys and values of algorithm.nthr
    case(f"{NTHR}.bta=1"),
    case(f"{NTHR}.zzz=1"),
    case("algorithm.nthr.beta=1"),
    case("algorithm.nthr.betta=1", is_packaged=True),
    case(f"{NTHR}.beta=1", is_packaged=True),
    case(f"{NTHR}=1"),
    case(f"{NTHR}.thr=0.1"),
    case(f"{NTHR}.beta=nan"),
    case(f"{NTHR}.beta=inf"),
    case(f"{NTHR}.beta=high"),
    case(f"{NTHR}.beta=true"),
    case(f"{NTHR}.eta=2"),
    case(f"{NTHR}.eta=half"),
    case(f"{NTHR}.vocabulary=small"),
    case(f"{NTHR}.anchor_includes_self=1"),
    case(f"{NTHR}.reward_threshold=half"),
    case(f"{NTHR}.reward_threshold=inf"),
    case(f"{NTHR}.metric=1"),
    case(f"{NTHR}.feature_device=gpu"),
    case(f"{NTHR}.token_dump_dir=1"),
    case(f"{NTHR}.filter_groups=mixed"),
    case(f"{NTHR}.monitor_freq=0.5"),
    case(f"{NTHR}.monitor_freq=-1"),
    case(f"{NTHR}.monitor_freq=5", f"{NTHR}.monitor_epsilon=nan"),
    case(f"{NTHR}.denominator=none"),
    case("algorithm.adv_estimator=thr", f"{NTHR}.thr.rho=1"),
    case("algorithm.adv_estimator=thr", f"{NTHR}.thr.roh=0.2"),
    case("algorithm.adv_estimator=w_reinforce", f"{NTHR}.w_reinforce.positive_weight=-1"),
    case("algorithm.adv_estimator=s_grpo", f"{NTHR}.s_grpo.noise_rate=0.5"),
    case("algorithm.adv_estimator=lens", f"{NTHR}.lens.all_wrong_weight=many"),
    case(f"{NTHR}.base=ngrpo", f"{NTHR}.ngrpo.max_reward=inf"),
    # estimators
    case("algorithm.adv_estimator=nhtr"),
    case("algorithm.adv_estimator=gae", "critic.enable=False"),
    case(f"{NTHR}.base=gae"),
    case(f"{NTHR}.weighting=thr"),
    case("algorithm.adv_estimator=psr", f"{NTHR}.base=grpo"),
    case("algorithm.adv_estimator=psr", f"{NTHR}.weighting=entropy"),
    case("algorithm.adv_estimator=psr", f"{NTHR}.weighting=negative"),
    case("algorithm.adv_estimator=psr", f"{NTHR}.weighting=nthr"),
    case("algorithm.adv_estimator=psr", "algorithm.use_kl_in_reward=True"),
    case("algorithm.adv_estimator=ngrpo", "algorithm.use_kl_in_reward=True"),
    case("algorithm.adv_estimator=ngrpo"),
    case("algorithm.adv_estimator=ngrpo", f"{ACTOR}.clip_ratio_c=none"),
    case("algorithm.adv_estimator=s_grpo", "algorithm.norm_adv_by_std_in_grpo=False"),
    # options without effect
    case("algorithm.adv_estimator=grpo", f"{NTHR}.beta=0"),
    case("algorithm.adv_estimator=psr", f"{NTHR}.eta=0"),
    case("algorithm.adv_estimator=dr_grpo", f"{NTHR}.metric=acc"),
    case(f"{NTHR}.beta=0", f"{NTHR}.anchor_includes_self=False"),
    case(f"{NTHR}.monitor_epsilon=0.1"),
    case(f"{NTHR}.filter_groups=all_wrong"),
    # settings of verl
    case(f"{ROLLOUT}.n=1"),
    case(f"{ROLLOUT}.n=many"),
    case(f"{ROLLOUT}.temperature=0"),
    case(f"{ROLLOUT}.full_determinism=True"),
    case("algorithm.rollout_correction.bypass_mode=True"),
    case("trainer.use_v1=False"),
    case("trainer.v1.trainer_mode=async"),
    case("+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_PLUGINS=other"),
    case("model_engine=torchtitan"),
    case(f"{ACTOR}.strategy=fsdp3"),
    case("model_engine=megatron2"),
    case(f"{LOSS}.loss_mode=geo_mean"),
    case(
        "trainer.v1.trainer_mode=separate_async",
        *(f"{ACTOR}.strategy=fsdp2", f"{ACTOR}.fsdp_config.param_offload=True"),
    ),
    case(
        *("algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=acc"),
        f"{NTHR}.filter_groups=all_wrong",
    ),
    case(
        f"{NTHR}.filter_groups=all_wrong",
        "trainer.v1.sampler.custom_sampler.path=sampler.py",
        "trainer.v1.sampler.custom_sampler.name=Sampler",
    ),
    case(
        "algorithm.adv_estimator=lens", "algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=reward"
    ),
    # Megatron
    *(
        case("model_engine=megatron", override)
        for override in (
            f"{MEGATRON}.dynamic_context_parallel=True",
            f"{MEGATRON}.use_megatron_fsdp=True",
            f"+{MEGATRON}.override_transformer_config.fp8=e4m3",
            f"{MEGATRON}.qat.enable=True",
            f"{MODEL}.mtp.enable=True",
        )
    ),
    case("model_engine=megatron", f"{MODEL}.lora.rank=8", f"{MODEL}.lora.merge=True"),
    # loss terms
    case(f"+{LOSS}.llds_coef=0.1"),
    case(LOSS_CLASS, f"+{LOSS}.llds_coef=-0.1"),
    case(LOSS_CLASS, f"+{LOSS}.positive_nll_coef=high"),
    case(LOSS_CLASS, f"+{LOSS}.llds_coef=0.1", f"+{LOSS}.llds_normalizer=tokens"),
    case(LOSS_CLASS, f"+{LOSS}.llds_normalizer=all"),
    case(LOSS_CLASS, f"+{LOSS}.lds_coef=0.1"),
    case(LOSS_CLASS, f"+{LOSS}.llds_coef=0.1", "data.train_batch_size=256"),
    case(LOSS_CLASS, f"+{LOSS}.llds_coef=0.1", "algorithm.rollout_correction.bypass_mode=True"),
    case("algorithm.adv_estimator=grpo", LOSS_CLASS, f"+{LOSS}.llds_coef=0.1", "distillation.enabled=True"),
    # iGRPO
    case(*IGRPO, loop="drafts: 0"),
    case(*IGRPO, loop="draft: 2"),
    case(*IGRPO, loop='template: "{prompt}"'),
    case(*IGRPO[:2], loop="drafts: 2"),
    case(*IGRPO[:2], "data.max_prompt_length=long", loop="drafts: 2"),
    case(IGRPO[0], IGRPO[2], loop="drafts: 2"),
    case(*IGRPO, "reward.reward_model.enable=True", loop="drafts: 2"),
    case(f"{ROLLOUT}.agent.agent_loop_config_path=FOLDER/missing.yaml"),
    # verl's own
    case(f"{ROLLOUT}.name=???"),
    case(f"{ACTOR}.ppo_micro_batch_size_per_gpu=null"),
    case(f"{ACTOR}.loss_agg_mode=mean"),
    case(f"{ACTOR}.ppo_mini_batch_size=2048"),
    case("data.train_batch_size=1000", "trainer.n_gpus_per_node=3"),
    case("data.train_batch_size=many"),
    case("data.train_batch_size=0"),
    case("trainer.n_gpus_per_node=0"),
    case("trainer.nnodes=0"),
    case(f"{ACTOR}.ppo_mini_batch_size=0"),
    case(f"{ACTOR}.ppo_epochs=0"),
    case("data.train_files=[a"),
    case("algorithm.adv_estimator"),
    # files
    *(
        case(override, checks_files=True)
        for override in (
            "data.train_files=/nonexistent/train.parquet",
            "data.val_files=[/nonexistent/a.parquet,/nonexistent/b.parquet]",
            "reward.custom_reward_function.path=/nonexistent/reward.py",
            "reward.custom_reward_function.path=FOLDER/reward.py",
            "reward.custom_reward_function.path=FOLDER/broken.py",
            f"{MODEL}.path=/nonexistent/model",
        )
    ),
    # several at once
    case(f"{ROLLOUT}.n=1", f"{NTHR}.eta=2", f"+{LOSS}.llds_coef=0.1", f"{ACTOR}.loss_agg_mode=mean"),
)


@cache
def base(is_packaged: bool, *groups: str) -> DictConfig:
    return compose_run(groups, *(PACKAGED_CONFIG if is_packaged else VERLS_CONFIG))


def composed(overrides: list[str], *, is_packaged: bool) -> DictConfig:
    """As :func:`compose_run`, but the files that verl's configuration is composed of are read once."""
    groups = [override for override in overrides if override.startswith("model_engine=")]
    config = copy.deepcopy(base(is_packaged, *groups))
    try:
        values = OverridesParser.create().parse_overrides([each for each in overrides if each not in groups])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
    except (HydraException, OmegaConfBaseException):
        return compose_run(overrides, *(PACKAGED_CONFIG if is_packaged else VERLS_CONFIG))
    return config


def findings(each: Case) -> tuple[list[str], list[str]]:
    """(why it is refused, what it is warned of), as ``verl-nthr doctor --config`` finds them."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        loop = f"- name: igrpo\n  _target_: verl_nthr.integration.igrpo.agent_loop.IGRPO\n  {each.loop}\n"
        (folder / "igrpo.yaml").write_text(loop, encoding="utf-8")
        (folder / "reward.py").write_text("def score():\n    return 1.0\n", encoding="utf-8")
        (folder / "broken.py").write_text("def compute_score(:\n", encoding="utf-8")
        overrides = [override.replace("FOLDER", name) for override in (*RIGHT, *each.overrides)]
        try:
            config = composed(overrides, is_packaged=each.is_packaged)
        except RunConfigError as error:
            return [str(error).replace(name, "FOLDER")], []
        found = check(config)
        problems = found.problems
        if each.checks_files:
            asked = each.overrides[0].partition("=")[0].rpartition(".")[0]
            problems = [*problems, *(text for text in missing_files(config) if text.startswith(asked))]
    return [text.replace(name, "FOLDER") for text in problems], [
        text.replace(name, "FOLDER") for text in found.warnings
    ]


def section(each: Case) -> str:
    """What the page has on a case."""
    problems, warned = findings(each)
    lines = [*(f"refused: {text}" for text in problems), *(f"warning: {text}" for text in warned)]
    blocks = ["\n".join(f"    {line}" for line in text.splitlines()) for text in lines]
    return f"## {each.title}\n\n" + "\n".join(blocks) + "\n"


def page() -> Iterator[str]:
    """The page, section by section."""
    yield HEAD.format(right="\n    ".join(RIGHT))
    yield from map(section, CASES)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PAGE.write_text("\n".join(page()), encoding="utf-8")
