"""Options as nested mappings of anything, whole configurations and overrides: accepted, or refused by name."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tests.fuzzing.inputs import fuzzed, may_refuse, numbers
from verl_nthr.errors import InputError
from verl_nthr.integration.config.composition import compose_run
from verl_nthr.integration.config.estimators import ESTIMATORS, estimator_of
from verl_nthr.integration.config.options import CHOICES, AlgorithmOptions, NTHRConfigError
from verl_nthr.recipes.check import check

NAMES = [field.name for field in dataclasses.fields(AlgorithmOptions)]
INNER = [
    inner.name
    for field in dataclasses.fields(AlgorithmOptions)
    if dataclasses.is_dataclass(field.default_factory)
    for inner in dataclasses.fields(field.default_factory)
]
choices = st.sampled_from(sorted({str(choice) for allowed in CHOICES.values() for choice in allowed}))
scalars = st.one_of(numbers, choices, st.integers(), st.floats(), st.text(max_size=8), st.none())
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
rules = st.dictionaries(st.sampled_from([*INNER, "", "rh"]), scalars, max_size=2)
keys = st.one_of(st.sampled_from(NAMES), st.text(max_size=6), st.integers())
nodes = st.dictionaries(keys, st.one_of(anything, rules), max_size=4)


@fuzzed(150)
@given(nodes)
def test_options_that_are_accepted_are_read_back_and_name_an_estimator(node: Any) -> None:
    with may_refuse(NTHRConfigError):
        options = AlgorithmOptions.from_config(node)
        assert AlgorithmOptions.from_config(dataclasses.asdict(options)) == options
        estimator = estimator_of({"algorithm": {**node, "adv_estimator": "nthr"}})
        assert options.weighting(estimator.weighting) is not None
        options.rule(estimator.base)


ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
BASE = (
    *("algorithm.adv_estimator=nthr", "critic.enable=False", "data.train_files=null", "data.val_files=null"),
    *(f"{ROLLOUT}.n=8", f"{ROLLOUT}.name=vllm", f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=1"),
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
)
KEYS = (
    *(f"algorithm.{name}" for name in (*NAMES, "thr.rho", "filter_groups.drop", "lld_monitor.freq")),
    *(f"algorithm.nthr.{name}" for name in ("base", "weighting", "beta", "eta", "metric", "reward_threshold")),
    *("algorithm.nthr", "algorithm.adv_estimator", "algorithm.use_kl_in_reward"),
    *("algorithm.filter_groups", "algorithm.filter_groups.enable", "algorithm.filter_groups.metric"),
    *(f"{ROLLOUT}.{name}" for name in ("n", "temperature", "agent.agent_loop_config_path", "full_determinism")),
    *(f"{ACTOR}.{name}" for name in ("strategy", "policy_loss", "policy_loss.loss_mode", "policy_loss.llds_coef")),
    *(f"{ACTOR}.{name}" for name in ("ppo_mini_batch_size", "ppo_epochs", "clip_ratio_low", "clip_ratio_c")),
    *(f"{ACTOR}.{name}" for name in ("fsdp_config", "optim.lr")),
    *("actor_rollout_ref", *(f"actor_rollout_ref.model{name}" for name in ("", ".lora_rank", ".path"))),
    *("data.train_batch_size", "data.max_prompt_length", "data.train_files", "distillation"),
    *("trainer", "trainer.use_v1", "trainer.n_gpus_per_node", "trainer.v1.trainer_mode"),
    *("trainer.v1.sampler.custom_sampler", "reward", "reward.reward_model"),
    *(f"reward.custom_reward_function.{name}" for name in ("path", "name")),
)
entries = st.one_of(
    st.sampled_from((None, True, False, 0, -1, 1, 8, 1.5, 1e400)),
    st.sampled_from(("", "x", "???", "${algorithm}", "${nothing}", "/", "~x/", "\x00", "x" * 5000, *ESTIMATORS)),
    st.integers(),
    st.text(max_size=4),
)
settings = st.one_of(
    entries, st.lists(entries, max_size=2), st.dictionaries(st.sampled_from(("beta", "x", "")), entries, max_size=2)
)


@functools.cache
def _base() -> DictConfig:
    return compose_run(BASE)


@fuzzed(30)
@given(st.lists(st.tuples(st.sampled_from(KEYS), settings), min_size=1, max_size=3))
def test_a_whole_configuration_is_accepted_or_refused(changes: list[tuple[str, Any]]) -> None:
    config = copy.deepcopy(_base())
    for key, value in changes:
        # some values cannot be in a configuration
        with contextlib.suppress(OmegaConfBaseException, TypeError, ValueError), open_dict(config):
            OmegaConf.update(config, key, value, merge=False)
    with may_refuse(InputError), contextlib.redirect_stdout(io.StringIO()):
        assert all(isinstance(message, str) for message in check(config, files=True))


overrides = st.one_of(
    st.text(max_size=12),
    st.builds(
        "{}{}={}".format,
        st.sampled_from(("", "+", "++", "~")),
        st.sampled_from(KEYS),
        st.one_of(entries.map(str), st.text("[]{}(),:='\"$\\ a1", max_size=6)),
    ),
)


@fuzzed(10)
@given(st.lists(overrides, min_size=1, max_size=2))
def test_overrides_are_composed_or_refused(given_overrides: list[str]) -> None:
    with may_refuse(InputError):
        compose_run(given_overrides)
