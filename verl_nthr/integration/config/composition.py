"""Composition of a training run's configuration, as ``verl.trainer.main_ppo`` composes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.errors import InputError
from verl_nthr.integration.config.nodes import RENAMED
from verl_nthr.integration.config.validation import reason

PACKAGED_CONFIG = ("pkg://verl_nthr.config", "nthr_trainer")
"""``--config-path`` and ``--config-name`` of this package's configuration."""


def compose_run(
    overrides: Sequence[str], config_path: str = PACKAGED_CONFIG[0], config_name: str = PACKAGED_CONFIG[1]
) -> DictConfig:
    """Compose the configuration of ``verl.trainer.main_ppo``, and resolve all interpolations once.

    Args:
        overrides: hydra's.
        config_path: hydra's ``--config-path``: a folder, ``pkg://`` and a package, or relative to ``verl.trainer``.
        config_name: hydra's ``--config-name``.

    Raises:
        InputError: hydra refuses an override, or there is no such configuration.
    """
    GlobalHydra.instance().clear()
    try:
        with _config_source(config_path):
            config = compose(config_name, list(overrides))
        OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        renamed = [f"{old} is {new} now" for old, new in RENAMED.items() if any(old in each for each in overrides)]
        raise InputError("\n".join([reason(error), *renamed])) from error
    return config


def _config_source(config_path: str) -> AbstractContextManager[None]:
    if os.path.isabs(config_path):
        return initialize_config_dir(config_path, version_base=None)
    if config_path.startswith("pkg://"):
        return initialize_config_module(config_path.removeprefix("pkg://").replace("/", "."), version_base=None)
    if config_path.strip("./") != "config":
        raise InputError(
            f"--config-path={config_path}: hydra looks for a relative path in the folder of verl.trainer; give an "
            "absolute one"
        )
    return initialize_config_module("verl.trainer.config", version_base=None)
