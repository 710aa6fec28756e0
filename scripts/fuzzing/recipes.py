"""Whole configurations of a training, and overrides as hydra takes them."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
from typing import Any

from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fuzzing.mappings import names
from fuzzing.target import Target
from verl_nthr.integration.config.estimators import ESTIMATORS
from verl_nthr.recipes.check import RecipeError, check, compose_run

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
BASE = (
    "algorithm.adv_estimator=nthr",
    f"{ROLLOUT}.n=8",
    f"{ROLLOUT}.name=vllm",
    f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=1",
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
    "critic.enable=False",
    "data.train_files=null",
    "data.val_files=null",
)
KEYS = (
    *(f"algorithm.nthr.{name}" for name in names),
    *("algorithm.nthr", "algorithm.nthr.thr.rho", "algorithm.adv_estimator", "algorithm.use_kl_in_reward"),
    *("algorithm.filter_groups", "algorithm.filter_groups.enable", "algorithm.filter_groups.metric"),
    *(f"{ROLLOUT}.{name}" for name in ("n", "temperature", "agent.agent_loop_config_path")),
    *(f"{ACTOR}.{name}" for name in ("strategy", "policy_loss", "policy_loss.loss_mode", "policy_loss.llds_coef")),
    *(
        f"{ACTOR}.{name}"
        for name in ("ppo_mini_batch_size", "clip_ratio_low", "clip_ratio_c", "fsdp_config", "optim.lr")
    ),
    *(f"{ROLLOUT}.full_determinism", f"{ACTOR}.ppo_epochs"),
    *("actor_rollout_ref", "actor_rollout_ref.model"),
    *(f"actor_rollout_ref.model.{name}" for name in ("lora_rank", "path")),
    *("data.train_batch_size", "data.max_prompt_length", "data.train_files", "distillation"),
    *("trainer", "trainer.use_v1", "trainer.n_gpus_per_node", "trainer.v1.trainer_mode"),
    *("trainer.v1.sampler.custom_sampler", "reward", "reward.reward_model"),
    *(f"reward.custom_reward_function.{name}" for name in ("path", "name")),
)

plain = st.one_of(
    st.sampled_from((None, True, False, 0, -1, 1, 8, 1.5, 1e400)),
    st.sampled_from(("", "x", "???", "${algorithm}", "${nothing}", "nthr", "p", "/", "~x/")),
    st.sampled_from(tuple(ESTIMATORS)),
    st.integers(),
    st.text(max_size=4),
)
given = st.one_of(
    plain, st.lists(plain, max_size=2), st.dictionaries(st.sampled_from(("beta", "x", "")), plain, max_size=2)
)


@functools.cache
def _base() -> DictConfig:
    return compose_run(BASE)


def check_settings(changes: list[tuple[str, Any]]) -> None:
    """A configuration with other values is accepted with warnings, or refused."""
    config = copy.deepcopy(_base())
    for key, value in changes:
        try:
            with open_dict(config):
                OmegaConf.update(config, key, value, merge=False)
        except (OmegaConfBaseException, TypeError, ValueError):
            # such a value cannot be in a configuration
            continue
    is_ours = all(key.startswith("algorithm.nthr") for key, _ in changes)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            assert all(isinstance(message, str) for message in check(config, files=True))
        except RecipeError as error:
            # this package looks at the values of its own options
            if is_ours and "verl cannot read the configuration" in str(error):
                raise AssertionError(error) from error
            raise


def check_overrides(overrides: list[str]) -> None:
    """Text that is no override, or one for a key that does not exist, is refused."""
    compose_run(overrides)


override = st.one_of(
    st.text(max_size=12),
    st.builds(
        lambda sign, key, value: f"{sign}{key}={value}",
        st.sampled_from(("", "+", "++", "~")),
        st.sampled_from(KEYS),
        st.one_of(plain.map(str), st.text("[]{}(),:='\"$\\ a1", max_size=6)),
    ),
)

TARGETS = (
    Target(
        "settings",
        st.lists(st.tuples(st.sampled_from(KEYS), given), min_size=1, max_size=3),
        check_settings,
        (RecipeError,),
        share=3.0,
    ),
    Target("overrides", st.lists(override, min_size=1, max_size=2), check_overrides, (RecipeError,), share=1.0),
)
