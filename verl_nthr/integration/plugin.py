"""The door through which verl loads NTHR (entry point group ``verl.plugins``), in every process that imports verl.

Importing this module registers post-import hooks and nothing else: each override is put in place when the verl module
that it concerns is imported, and is inert in a run that did not ask for one of our estimators.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from types import ModuleType

import wrapt

from verl_nthr.integration import group_filter, loss_columns, loss_terms, monitor, worker_check
from verl_nthr.integration.config import estimators, validation, versions
from verl_nthr.integration.driver import trainer
from verl_nthr.integration.worker import scoring
from verl_nthr.supported import installed_version, requirement

logger = logging.getLogger(__name__)

HOOKS: tuple[tuple[str, Callable[[ModuleType], None]], ...] = (
    ("verl.utils.config", validation.override_config),
    ("verl.trainer.ppo.core_algos", estimators.register),
    ("verl.trainer.ppo.v1.trainer_base", monitor.override_trainer_base),
    ("verl.trainer.ppo.v1.trainer_base", group_filter.override_trainer_base),
    ("verl.trainer.ppo.v1.trainer_base", loss_columns.override_trainer_base),
    ("verl.trainer.ppo.v1.trainer_base", trainer.override_trainer_base),
    ("verl.trainer.ppo.v1.trainer_base", worker_check.override_trainer_base),
    ("verl.workers.engine.base", scoring.override_engine_base),
    ("verl.workers.engine.base", loss_terms.override_engine_base),
)

REFUSING = (validation.override_config, estimators.register)
"""The hooks that make a run with our estimators end with a message on the driver."""

OVERRIDES = (
    "verl.utils.config.validate_config",
    "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_old_log_prob",
    "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_advantage",
    "verl.trainer.ppo.v1.trainer_base.PPOTrainer._step_once",
    "verl.trainer.ppo.v1.trainer_base.PPOTrainer._build_replay_buffer",
    "verl.trainer.ppo.v1.trainer_base.PPOTrainer._update_actor",
    "verl.workers.engine.base.BaseEngine.infer_batch",
    "verl.workers.engine.base.BaseEngine.train_batch",
)


def _install() -> None:
    """Register the hooks; a verl module that lacks what we override stops the rest of its hooks, not the import.

    In a verl out of range nothing is changed, except that runs which ask for us are refused.
    """
    unusable: set[str] = set()
    hooks = HOOKS
    if not versions.is_verl_supported():
        hooks = tuple((path, hook) for path, hook in HOOKS if hook in REFUSING)
        logger.warning(
            "verl==%s is installed, and NTHR is for %s: runs that ask for it are refused, others are not affected",
            installed_version("verl"),
            requirement("verl"),
        )

    def guarded(path: str, hook: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def apply(module: ModuleType) -> None:
            if path in unusable:
                return
            try:
                hook(module)
            except AttributeError as error:
                unusable.add(path)
                logger.warning(
                    "NTHR does not fit the installed verl (%s); the supported versions are %s. "
                    "Runs with other estimators are not affected.",
                    error,
                    requirement("verl"),
                )

        return apply

    for path, hook in hooks:
        wrapt.register_post_import_hook(guarded(path, hook), path)


def status() -> dict[str, bool]:
    """Whether each thing that NTHR registers or overrides is in place in this process; imports what it concerns."""
    core_algos = importlib.import_module("verl.trainer.ppo.core_algos")
    found = {f"estimator {name}": name in core_algos.ADV_ESTIMATOR_REGISTRY for name in estimators.ESTIMATORS}
    return found | {f"override {path}": _is_ours(path) for path in OVERRIDES}


def _is_ours(path: str) -> bool:
    parts = path.split(".")
    depth = next((i for i, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    found: object = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        found = vars(found).get(part)
    wrapper = getattr(found, "_self_wrapper", None)
    return getattr(wrapper, "__module__", "").startswith("verl_nthr.")


_install()
