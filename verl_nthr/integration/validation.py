"""What this package cannot run with is refused on the driver, where verl checks its configuration."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from verl_nthr.integration.checks import check_run
from verl_nthr.integration.igrpo_options import check_agent_loops
from verl_nthr.integration.loss_checks import check_loss_terms


def override_config(config_module: ModuleType) -> None:
    """Wrap ``verl.utils.config.validate_config`` (0.9), which ``verl.trainer.main_ppo`` calls before it starts Ray."""
    wrapt.wrap_function_wrapper(config_module, "validate_config", _validate_config)


def _validate_config(
    wrapped: Callable[..., None], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    config = kwargs["config"] if "config" in kwargs else args[0]
    # verl's own refusal of an option of the loss terms would name no way out, and it makes agent loops much later
    check_loss_terms(config)
    check_agent_loops(config)
    wrapped(*args, **kwargs)
    check_run(config)
