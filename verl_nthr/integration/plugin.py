"""The door through which verl loads NTHR (entry point group ``verl.plugins``), in every process that imports verl.

Importing this module registers post-import hooks and nothing else: each override is put in place when the verl module
that it concerns is imported, and is inert in a run that did not ask for one of our estimators.
"""

from __future__ import annotations

import importlib

import wrapt

from verl_nthr.integration import checks, estimators, trainer, worker

OVERRIDES = (
    ("verl.utils.config", checks.override_config),
    ("verl.trainer.ppo.core_algos", estimators.register),
    ("verl.trainer.ppo.v1.trainer_base", estimators.override_trainer_base),
    ("verl.trainer.ppo.v1.trainer_base", trainer.override_trainer_base),
    ("verl.workers.engine.base", worker.override_engine_base),
)

for _module, _hook in OVERRIDES:
    wrapt.register_post_import_hook(_hook, _module)


def status() -> dict[str, bool]:
    """Whether each thing that NTHR registers or overrides is in place in this process; imports what it concerns."""
    core_algos = importlib.import_module("verl.trainer.ppo.core_algos")
    found = {f"estimator {name}": name in core_algos.ADV_ESTIMATOR_REGISTRY for name in estimators.ESTIMATORS}
    for path in (
        "verl.utils.config.validate_config",
        "verl.trainer.ppo.v1.trainer_base.compute_advantage_for_multi_trajectories",
        "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_old_log_prob",
        "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_advantage",
        "verl.workers.engine.base.BaseEngine.infer_batch",
    ):
        wrapper = getattr(_resolve(path), "_self_wrapper", None)
        found[f"override {path}"] = getattr(wrapper, "__module__", "").startswith("verl_nthr.")
    return found


def _resolve(path: str) -> object:
    """The object at a dotted path whose capitalised part is a class."""
    parts = path.split(".")
    depth = next((i for i, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    found: object = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        found = vars(found)[part]
    return found
