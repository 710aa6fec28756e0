"""Check of the whole configuration before Ray starts, where verl checks its own."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_nthr.integration.config import combinations
from verl_nthr.integration.config.legacy_rewards import check_legacy_rewards
from verl_nthr.integration.config.loss_options import POLICY_LOSS, option_names
from verl_nthr.integration.config.nodes import NTHRConfigError, unknown_option
from verl_nthr.integration.config.options import OWN_KEYS
from verl_nthr.integration.config.run import Caution, Findings, Problem, Run, read_run
from verl_nthr.integration.config.settings import check_settings
from verl_nthr.integration.config.versions import check_versions
from verl_nthr.integration.igrpo.options import check_agent_loops

OWN_CLASS = "verl_nthr.integration.policy_loss.PolicyLossConfig"
VERLS_CLASS = "verl.workers.config.PolicyLossConfig"
REFUSALS = (HydraException, OmegaConfBaseException, AssertionError, NotImplementedError, ValueError)
"""Errors that verl's checks and the reading of a configuration raise on purpose."""

SURPRISES = (ArithmeticError, AttributeError, LookupError, TypeError)
"""Errors that they run into at values of another type or shape."""


@dataclass(frozen=True)
class Report:
    """Findings of the checks."""

    problems: list[str]
    """Reasons why the run cannot work."""

    warnings: list[str]
    """Oddities of a run that can work."""


def around_validate_config(
    wrapped: Callable[..., None], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    arguments = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    check_run(arguments.pop("config"), lambda config: wrapped(config, **arguments))


def check_run(config: DictConfig, verls_check: Callable[[DictConfig], None] = lambda config: None) -> None:
    """Check a whole configuration of ``verl.trainer.main_ppo``, and warn of oddities.

    Raises:
        NTHRConfigError: the run cannot work; the message lists every reason, and verl's first one if verl refuses too.
        Exception: what ``verls_check`` raises, if that is the only reason.
    """
    report = examine(config)
    if report.problems:
        problems = [*report.problems, *verls_problems(verls_check, config)]
        raise NTHRConfigError("this run cannot work:\n" + "\n".join(f"  - {problem}" for problem in problems))
    for text in report.warnings:
        warnings.warn(text, stacklevel=2)
    verls_check(config)


def examine(config: DictConfig) -> Report:
    """Run this package's checks."""
    run, unread = read_run(config)
    found = [*unread, *_check_loss_class(run), *check_agent_loops(config), *combinations.check_unused_options(run)]
    if run.takes_part:
        found += [each for check in CHECKS for each in check(run)]
    problems, cautions = ([str(each) for each in found if isinstance(each, kind)] for kind in (Problem, Caution))
    return Report(problems, cautions)


def verls_problems(verls_check: Callable[[DictConfig], None], config: DictConfig) -> list[str]:
    """List why verl refuses a configuration, from which the loss terms are taken out first."""
    copy = config.copy()
    policy_loss = OmegaConf.select(copy, POLICY_LOSS, default=None)
    if isinstance(policy_loss, Mapping):
        OmegaConf.set_struct(policy_loss, False)
        policy_loss._target_ = VERLS_CLASS
        for name in option_names():
            policy_loss.pop(name, None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # verl says there that all is well
            verls_check(copy)
    except (*REFUSALS, *SURPRISES) as error:
        return [reason(error)]
    return []


def reason(error: BaseException) -> str:
    """Join the message of an error with those of its causes, which hydra shows in a traceback only."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if not any(text in message for message in messages):
            messages.append(text)
        cause = cause.__cause__
    text = "\n".join(messages)
    if isinstance(error, REFUSALS):
        return text
    return (
        f"verl cannot read the configuration ({type(error).__name__}: {text}); look for a value of another type or "
        "out of range"
    )


def _check_keys(run: Run) -> Findings:
    """Refuse misspelt keys: those that verl lacks and that resemble one of ours."""
    from verl.trainer.config import AlgoConfig, FilterGroupsConfig

    for path, own, verls in (
        ("algorithm", OWN_KEYS, AlgoConfig),
        ("algorithm.filter_groups", ("drop",), FilterGroupsConfig),
    ):
        node = run.get(path)
        for name in node if isinstance(node, Mapping) else ():
            is_known = name in own or name in verls.__dataclass_fields__
            if not is_known and difflib.get_close_matches(str(name), own, n=1):
                yield Problem(unknown_option(path, str(name), node[name], list(own)))


def _check_loss_class(run: Run) -> Findings:
    """Refuse loss terms without the class that knows them, and name it; verl's own refusal would not."""
    node = run.get(POLICY_LOSS)
    given = [name for name in option_names() if name in node] if isinstance(node, Mapping) else []
    if given and node.get("_target_") == VERLS_CLASS:
        yield Problem(f"{POLICY_LOSS}.{given[0]}={node[given[0]]}: add {POLICY_LOSS}._target_={OWN_CLASS}")


CHECKS: tuple[Callable[[Run], Findings], ...] = (
    _check_keys,
    check_versions,
    combinations.check_estimator,
    combinations.check_metric,
    check_legacy_rewards,
    combinations.check_sampling,
    combinations.check_policy_loss,
    combinations.check_filter,
    check_settings,
)
"""Checks of runs in which this package takes part."""
