"""Composes the configuration of a training run and checks it without a GPU, Ray or a model."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.text import label

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from verl_nthr.integration.config.validation import Report

PACKAGED_CONFIG = ("pkg://verl_nthr.config", "nthr_trainer")
"""``--config-path`` and ``--config-name`` of this package's configuration."""

REWARD, MODEL = "reward.custom_reward_function", "actor_rollout_ref.model.path"
PATH_CHARACTERS = 500


class RunConfigError(ValueError):
    """A configuration cannot be composed; the message says why."""


def compose_run(overrides: Sequence[str], config_path: str, config_name: str) -> DictConfig:
    """The configuration that ``verl.trainer.main_ppo`` composes, with all interpolations resolved once.

    Args:
        overrides: hydra's.
        config_path: hydra's ``--config-path``: a folder, ``pkg://`` and a package, or relative to ``verl.trainer``.
        config_name: hydra's ``--config-name``.

    Raises:
        RunConfigError: hydra refuses an override, or there is no such configuration.
    """
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    from verl_nthr.integration.config.nodes import RENAMED
    from verl_nthr.integration.config.validation import reason

    GlobalHydra.instance().clear()
    try:
        with _config_source(config_path):
            config = compose(config_name, list(overrides))
        OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        renamed = [f"{old} is {new} now" for old, new in RENAMED.items() if any(old in each for each in overrides)]
        raise RunConfigError("\n".join([reason(error), *renamed])) from error
    return config


def _config_source(config_path: str) -> AbstractContextManager[None]:
    from hydra import initialize_config_dir, initialize_config_module

    if os.path.isabs(config_path):
        return initialize_config_dir(config_path, version_base=None)
    if config_path.startswith("pkg://"):
        return initialize_config_module(config_path.removeprefix("pkg://").replace("/", "."), version_base=None)
    if config_path.strip("./") != "config":
        raise RunConfigError(
            f"--config-path={config_path}: hydra looks for a relative path in the folder of verl.trainer; give an "
            "absolute one"
        )
    return initialize_config_module("verl.trainer.config", version_base=None)


def check(config: DictConfig) -> Report:
    """Make verl's and this package's checks of a configuration."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from verl_nthr.integration.config import validation

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            roles = need_reference_policy(config), need_critic(config)
            caught.clear()  # they warn again below
            report = validation.examine(config)
            verls_check = inspect.unwrap(validate_config)
            verls = validation.verls_problems(lambda config: verls_check(config, *roles), config)
            problems = [*_found_late(config, has_critic=roles[1]), *report.problems, *verls]
        except (*validation.REFUSALS, *validation.SURPRISES) as error:
            report, problems = validation.Report([], []), [validation.reason(error)]
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    return validation.Report(list(dict.fromkeys(problems)), list(dict.fromkeys([*said, *report.warnings])))


def _found_late(config: DictConfig, *, has_critic: bool) -> Iterator[str]:
    """What verl finds out when it has started Ray."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if OmegaConf.is_missing(config.actor_rollout_ref.rollout, "name"):
        yield "actor_rollout_ref.rollout.name is missing; set it"
    estimator = str(config.algorithm.adv_estimator)
    if estimator not in ADV_ESTIMATOR_REGISTRY:
        known = ", ".join(sorted(map(str, ADV_ESTIMATOR_REGISTRY)))
        yield f"algorithm.adv_estimator={label(estimator)}: verl knows no such estimator; use one of {known}"
    if estimator == "gae" and not has_critic:
        yield "algorithm.adv_estimator=gae: it needs a critic; set critic.enable=True, or use grpo"


def missing_files(config: DictConfig) -> Iterator[str]:
    """What is not there of the local files that a run names, one per line."""
    for key in ("data.train_files", "data.val_files"):
        value = _value(config, key)
        for path in value if isinstance(value, ListConfig) else [value]:
            if path and "://" not in str(path) and not _is_file(str(path)):
                shown = label(str(path), PATH_CHARACTERS)
                yield f"{key}: {shown} does not exist; docs/recipes.md says how the data are prepared"
    path, name = str(_value(config, f"{REWARD}.path") or ""), str(_value(config, f"{REWARD}.name"))
    if path and "://" not in path:
        shown = label(path, PATH_CHARACTERS)
        if not _is_file(path):
            yield f"{REWARD}.path: {shown} does not exist"
        elif name.encode(errors="replace") not in Path(os.path.expanduser(path)).read_bytes():
            yield f"{REWARD}.name={label(name)}: {shown} has no such function"
    model = str(_value(config, MODEL))
    if model.startswith(("/", "~", "./", "../")) and not _is_file(f"{model}/config.json"):
        shown = label(model, PATH_CHARACTERS)
        yield f"{MODEL}: {shown} is not a folder with a config.json; give a model's folder, or its name on the Hub"


def _value(config: DictConfig, key: str) -> Any:
    """None also where the configuration has another shape, which :func:`check` refuses."""
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def _is_file(path: str) -> bool:
    """Whether a file can be read; False also for what cannot be a path."""
    path = os.path.expanduser(path)
    return os.path.isfile(path) and os.access(path, os.R_OK)
