"""Check before the first step that every worker can do its part.

A worker where verl has not loaded the plugin, or where another plugin has replaced its changes, would train without
scores or loss terms.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verl_nthr.integration.config.estimators import estimator_of
from verl_nthr.integration.config.loss_options import LossTerms
from verl_nthr.integration.driver.run_state import run_state
from verl_nthr.patching import wrappers
from verl_nthr.plugin_policy import PLUGINS_ENV_VAR, lets_load

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer
    from verl.workers.engine import BaseEngine

PLUGIN = "verl_nthr.integration.plugin"
TIME_LIMIT = 300.0
"""Seconds within which the workers must answer."""

PATCHED_METHODS = ("prepare_model_inputs", "prepare_model_outputs", "forward_step", "forward_backward_batch")
"""Methods of an engine that the recording of a pass replaces, or that call those."""


@dataclass(frozen=True)
class WorkerReport:
    """Answer of a worker."""

    problem: str | None
    """Reason why it cannot do its part."""

    warnings: tuple[str, ...] = ()
    """Possible obstacles."""


def around_step_once(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    state = run_state(trainer)
    if not state.has_checked_workers:
        state.has_checked_workers = True
        methods = needed_methods(trainer)
        if methods:
            check_workers(trainer.actor_rollout_wg.workers, methods)
    return wrapped(*args, **kwargs)


def needed_methods(trainer: PPOTrainer) -> list[str]:
    """List the methods of ``verl.workers.engine.base.BaseEngine`` that must be this package's in a run."""
    estimator = estimator_of(trainer.config)
    terms = LossTerms.from_config(trainer.config.actor_rollout_ref.actor.policy_loss)
    scored = ["infer_batch"] if estimator is not None and estimator.is_scored else []
    return scored + (["train_batch"] if terms.is_active else [])


def check_workers(workers: Sequence[Any], methods: list[str]) -> None:
    """Ask Ray actors whether they can do their part, all at once, and warn of possible obstacles.

    A worker that does not answer, such as one without this package, only gets a warning: the first step will tell.

    Raises:
        RuntimeError: one cannot; the message names its rank, the reason and the fix.
    """
    import ray

    asked = [worker.__ray_call__.remote(inspect_worker, methods) for worker in workers]
    for rank, answer in enumerate(asked):
        try:
            found = ray.get(answer, timeout=TIME_LIMIT)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            found = WorkerReport(
                None,
                (
                    f"it could not be asked for verl-nthr ({reason}); if the first step fails, install it in the "
                    "environment of the Ray workers, on every node",
                ),
            )
        if found.problem is not None:
            raise RuntimeError(
                f"worker {rank} {found.problem}. `verl-nthr doctor` shows what is loaded in a Ray worker"
            )
        for message in found.warnings:
            warnings.warn(f"worker {rank}: {message}", stacklevel=2)


def inspect_worker(worker: Any, methods: list[str]) -> WorkerReport:
    """Check the plugin, ``methods`` and the engine inside a worker."""
    if PLUGIN not in sys.modules:
        return WorkerReport(f"runs without verl-nthr's plugin: {_why_not_loaded()}")
    engine = engine_of(worker)
    if engine is None:
        return WorkerReport(None, ("its engine cannot be checked: no actor with an engine was found",))
    said: list[str] = []
    for method in methods:
        found = other_function(type(engine), method)
        if found is not None and found.startswith("verl."):
            return WorkerReport(f"runs verl's own {found}: the plugin does not fit the verl that is installed there")
        if found is not None:
            said.append(
                f"{method} of its engine is {found}, another package's, which has to call what it replaced; if the "
                "first step fails, run without that package"
            )
    if "infer_batch" in methods:
        from verl_nthr.integration.worker.engines import capture_of

        try:
            capture_of(engine)
        except TypeError as error:
            return WorkerReport(f"cannot be scored: {error}")
        said += overridden(type(engine))
    return WorkerReport(None, tuple(said))


def engine_of(worker: Any) -> BaseEngine | None:
    """Find the actor's engine in a worker of ``verl.workers.engine_workers`` (0.9), alone or among colocated ones."""
    for candidate in (worker, *getattr(worker, "worker_dict", {}).values()):
        engine = getattr(getattr(candidate, "actor", None), "engine", None)
        if engine is not None:
            return engine
    return None


def other_function(engine: type[BaseEngine], method: str) -> str | None:
    """Name an engine's method in full, or None if it is this package's or visibly calls it."""
    function = next(vars(base)[method] for base in engine.__mro__ if method in vars(base))
    if any(wrapper.__module__.startswith("verl_nthr.") for wrapper in wrappers(function)):
        return None
    return f"{function.__module__}.{function.__qualname__}"


def overridden(engine: type[BaseEngine]) -> list[str]:
    """List a warning for each class outside of verl that overrides :data:`PATCHED_METHODS`."""
    return [
        f"{base.__module__}.{base.__qualname__}, another package's engine, overrides {', '.join(names)}, through which "
        "scores are recorded; it has to do there what verl's engine does"
        for base in engine.__mro__
        if not base.__module__.startswith("verl.")
        and (names := [name for name in PATCHED_METHODS if name in vars(base)])
    ]


def _why_not_loaded() -> str:
    value = os.environ.get(PLUGINS_ENV_VAR)
    if not lets_load(value or "auto", "nthr"):
        return f"{PLUGINS_ENV_VAR}={value} in its environment does not let verl load it; unset it there, or add nthr"
    try:
        importlib.import_module(PLUGIN)
    except Exception as error:  # noqa: BLE001 - verl hides it, whatever it is
        return f"verl could not load it ({type(error).__name__}: {error}); repair that environment"
    return "it is importable but not installed, so verl finds no entry point; pip install it where Ray's workers run"
