"""Entry point that verl loads (group ``verl.plugins``), in every process that imports verl.

Importing this module registers post-import hooks and nothing else: each patch is applied when the verl module that it
concerns is imported, and is inert in a run that did not ask for it.
"""

from __future__ import annotations

import logging

from verl_nthr import patching
from verl_nthr.integration.config import estimators, validation, versions
from verl_nthr.integration.driver import group_filter, lld_monitor, trainer
from verl_nthr.integration.loss_terms import driver as loss_terms_driver
from verl_nthr.integration.loss_terms import worker as loss_terms_worker
from verl_nthr.integration.worker import preflight, scoring
from verl_nthr.patching import FunctionPatch, ModulePatch, Patch
from verl_nthr.supported import installed_version, requirement

logger = logging.getLogger(__name__)

TRAINER = "verl.trainer.ppo.v1.trainer_base.PPOTrainer"
ENGINE = "verl.workers.engine.base.BaseEngine"

REFUSALS: tuple[Patch, ...] = (
    FunctionPatch(
        "verl.utils.config.validate_config",
        validation.around_validate_config,
        "check the whole configuration before Ray starts",
    ),
    ModulePatch(
        "verl.trainer.ppo.core_algos.ADV_ESTIMATOR_REGISTRY",
        "verl.trainer.ppo.core_algos",
        estimators.register,
        estimators.are_registered,
        "know the names of the estimators",
    ),
)
"""Changes to every verl: runs that this package cannot serve end with a message on the driver."""

OVERRIDES: tuple[Patch, ...] = (
    FunctionPatch(f"{TRAINER}._step_once", lld_monitor.around_step_once, "measure displacement after the update"),
    FunctionPatch(
        f"{TRAINER}._build_replay_buffer", group_filter.around_build_replay_buffer, "narrow the filter of groups"
    ),
    FunctionPatch(
        f"{TRAINER}._update_actor", loss_terms_driver.around_update_actor, "send the loss terms and their rows along"
    ),
    FunctionPatch(
        f"{TRAINER}._compute_old_log_prob",
        trainer.around_compute_old_log_prob,
        "send groups along, keep scores and anchors",
    ),
    FunctionPatch(f"{TRAINER}._compute_advantage", trainer.around_compute_advantage, "base advantage × weights"),
    FunctionPatch(f"{TRAINER}._step_once", preflight.around_step_once, "ask every worker before the first step"),
    FunctionPatch(f"{ENGINE}.infer_batch", scoring.around_infer_batch, "record hidden states in the pass, reduce them"),
    FunctionPatch(f"{ENGINE}.train_batch", loss_terms_worker.around_train_batch, "add the loss terms"),
)
"""Changes to none but the versions of verl that this package supports."""

PATCHES = REFUSALS + OVERRIDES


def status() -> dict[str, bool]:
    """Tell of each change to verl whether it is in place in this process; imports the modules concerned."""
    return patching.status(PATCHES)


def _install() -> None:
    if versions.is_verl_supported():
        patching.install(PATCHES, _warn_of_misfit)
        return
    logger.warning(
        "verl==%s is installed, and NTHR is for %s: runs that ask for it are refused, others are not affected",
        installed_version("verl"),
        requirement("verl"),
    )
    patching.install(REFUSALS, _warn_of_misfit)


def _warn_of_misfit(error: AttributeError) -> None:
    logger.warning(
        "NTHR does not fit the installed verl (%s); the supported versions are %s. "
        "Runs with other estimators are not affected.",
        error,
        requirement("verl"),
    )


_install()
