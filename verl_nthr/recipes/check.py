"""Composes the configuration of a run and checks it without a GPU, data or a model.

``python -m verl_nthr.recipes.check [--files] OVERRIDE...`` takes the overrides that ``verl.trainer.main_ppo`` gets on
the packaged configuration, and exits with 2 and the reason if such a run cannot work.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.text import label, print_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

REFUSED = 2
REFUSALS = (
    *(HydraException, OmegaConfBaseException, AssertionError, TypeError, ValueError),
    *(AttributeError, KeyError, ArithmeticError),
)
"""What OmegaConf, hydra and verl's checks raise at values, with some of which verl computes before it looks at them."""

CONFIG_MODULE, CONFIG_NAME = "verl_nthr.config", "nthr_trainer"


class RecipeError(ValueError):
    """A run cannot work; the message says why, and the way out."""


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The configuration of ``verl.trainer.main_ppo`` on the packaged configuration.

    Raises:
        RecipeError: hydra refuses an override.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(CONFIG_MODULE, version_base=None):
            config = compose(CONFIG_NAME, list(overrides))
        OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise RecipeError(_whole_message(error)) from error
    return config


def check(config: DictConfig) -> list[str]:
    """Run verl's and this package's checks of a configuration; returns what they warn about.

    Raises:
        RecipeError: one of them refuses the configuration.
    """
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            _check_estimator(str(config.algorithm.adv_estimator), need_critic(config))
            validate_config(config, need_reference_policy(config), need_critic(config))
        except RecipeError:
            raise
        except REFUSALS as error:
            raise RecipeError(_whole_message(error)) from error
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


def _check_estimator(estimator: str, has_critic: bool) -> None:
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if estimator not in ADV_ESTIMATOR_REGISTRY:
        known, name = ", ".join(sorted(map(str, ADV_ESTIMATOR_REGISTRY))), label(estimator)
        raise RecipeError(f"algorithm.adv_estimator={name}: verl knows no such estimator; use one of {known}")
    if estimator == "gae" and not has_critic:
        raise RecipeError("algorithm.adv_estimator=gae: it needs a critic, which a recipe does not train; use grpo")


def check_files(config: DictConfig) -> None:
    """Check that data and reward function are there.

    Raises:
        RecipeError: a local file is missing.
    """
    for key in ("data.train_files", "data.val_files", "reward.custom_reward_function.path"):
        value = OmegaConf.select(config, key)
        for path in value if isinstance(value, ListConfig) else [value]:
            if path and "://" not in str(path) and not Path(str(path)).expanduser().is_file():
                raise RecipeError(
                    f"{key}: {label(str(path))} does not exist; docs/recipes.md says how the data are prepared"
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Check a run; 0 if it can work, else 2 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m verl_nthr.recipes.check", description="Check a run's settings.")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as verl.trainer.main_ppo takes them")
    parser.add_argument("--files", action="store_true", help="check that data and reward function are there, too")
    args = parser.parse_args(argv)
    try:
        config = compose_run(args.overrides)
        if args.files:
            check_files(config)
        messages = check(config)
    except RecipeError as error:
        print_error("recipe", error)
        return REFUSED
    for message in messages:
        print_error("recipe: warning", message)
    return 0


def _whole_message(error: BaseException) -> str:
    """The error's message and those of its causes, which hydra shows in a traceback only."""
    messages = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if not any(text in message for message in messages):
            messages.append(text)
        cause = cause.__cause__
    return "\n".join(messages)


if __name__ == "__main__":
    sys.exit(main())
