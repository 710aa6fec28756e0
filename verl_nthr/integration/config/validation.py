"""What this package cannot run with is refused on the driver, where verl checks its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import wrapt
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.integration.config import checks, loss_checks
from verl_nthr.integration.config.loss_options import POLICY_LOSS, option_names
from verl_nthr.integration.igrpo import options as igrpo_options

REFUSALS = (HydraException, OmegaConfBaseException, AssertionError, NotImplementedError, ValueError)
"""What OmegaConf, hydra and the checks raise at values that they look at."""

SURPRISES = (ArithmeticError, AttributeError, LookupError, TypeError)
"""What verl's checks run into at others, as a text for a number."""


def override_config(config_module: ModuleType) -> None:
    """Wrap ``verl.utils.config.validate_config`` (0.9), which ``verl.trainer.main_ppo`` calls before it starts Ray."""
    wrapt.wrap_function_wrapper(config_module, "validate_config", _validate_config)


def _validate_config(
    wrapped: Callable[..., None], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    config = kwargs["config"] if "config" in kwargs else args[0]
    # verl's own refusal of an option of the loss terms would name no way out, and it makes agent loops much later
    loss_checks.check_loss_terms(config)
    igrpo_options.check_agent_loops(config)
    wrapped(*args, **kwargs)
    checks.check_run(config)


def problems(config: DictConfig, *, use_reference_policy: bool, use_critic: bool) -> Iterator[str]:
    """Why a run cannot work, by verl's checks and this package's, one reason a line.

    ``verl.trainer.main_ppo`` stops at the first check that fails; here all are made. They warn as they do there.
    """
    from verl.utils import config as verl_config

    of_terms = list(loss_checks.problems(config))
    yield from of_terms
    yield from igrpo_options.problems(config)
    validate = inspect.unwrap(verl_config.validate_config)
    try:
        validate(_without_loss_terms(config) if of_terms else config, use_reference_policy, use_critic)
    except (*REFUSALS, *SURPRISES) as error:
        yield reason(error)
    yield from checks.problems(config)


def reason(error: Exception) -> str:
    """Why a configuration is refused, from one of :data:`REFUSALS` or :data:`SURPRISES`."""
    if isinstance(error, REFUSALS):
        return whole_message(error)
    return (
        f"verl cannot read the configuration ({type(error).__name__}: {whole_message(error)}); is a value out of "
        "range, of another type, or given where verl has options?"
    )


def whole_message(error: BaseException) -> str:
    """The error's message and those of its causes, which hydra shows in a traceback only."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if not any(text in message for message in messages):
            messages.append(text)
        cause = cause.__cause__
    return "\n".join(messages)


def _without_loss_terms(config: DictConfig) -> DictConfig:
    """A copy for verl's own checks, which know no loss terms."""
    copy = config.copy()
    policy_loss = OmegaConf.select(copy, POLICY_LOSS)
    OmegaConf.set_struct(policy_loss, False)
    policy_loss._target_ = loss_checks.VERLS_CLASS
    for name in option_names():
        policy_loss.pop(name, None)
    return copy
