"""Examination of a run before it starts, by this package's checks and verl's own, and of the files that it names."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from verl_nthr.integration.config import validation
from verl_nthr.integration.config.validation import REFUSALS, SURPRISES, Report, reason
from verl_nthr.text import label

REWARD, MODEL = "reward.custom_reward_function", "actor_rollout_ref.model.path"
PATH_CHARACTERS = 500


def examine_run(config: DictConfig, *, files: bool = True) -> Report:
    """Run this package's checks and verl's, and with ``files`` look for the local files that the run names."""
    problems: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            roles = need_reference_policy(config), need_critic(config)
            caught.clear()  # they warn again below
            report = validation.examine(config)
            verls_check = inspect.unwrap(validate_config)
            verls = validation.verls_problems(lambda config: verls_check(config, *roles), config)
            problems = [*_found_late(config, has_critic=roles[1]), *report.problems, *verls]
        except (*REFUSALS, *SURPRISES) as error:
            report, problems = Report([], []), [reason(error)]
    if files:
        problems += missing_files(config)
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    return Report(list(dict.fromkeys(problems)), list(dict.fromkeys([*said, *report.warnings])))


def _found_late(config: DictConfig, *, has_critic: bool) -> Iterator[str]:
    """Yield what verl finds out after Ray has started."""
    if OmegaConf.is_missing(config.actor_rollout_ref.rollout, "name"):
        yield "actor_rollout_ref.rollout.name is missing; set it"
    estimator = str(config.algorithm.adv_estimator)
    if estimator not in ADV_ESTIMATOR_REGISTRY:
        known = ", ".join(sorted(map(str, ADV_ESTIMATOR_REGISTRY)))
        yield f"algorithm.adv_estimator={label(estimator)}: verl knows no such estimator; use one of {known}"
    if estimator == "gae" and not has_critic:
        yield "algorithm.adv_estimator=gae: it needs a critic; set critic.enable=True, or use grpo"


def missing_files(config: DictConfig) -> Iterator[str]:
    """Yield a line for each local file that the run names and that is not there."""
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
    """Read a value, None also where the configuration has another shape, which :func:`examine_run` refuses."""
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def _is_file(path: str) -> bool:
    """Tell whether a file can be read; False also for what cannot be a path."""
    path = os.path.expanduser(path)
    return os.path.isfile(path) and os.access(path, os.R_OK)
