"""The installed versions, against :data:`verl_nthr.supported.RANGES`.

This package changes verl, so that a run on another verl is refused. From the others it only reads, and log-probs that
do not follow from what was read are an error in any case: a warning is enough.
"""

from __future__ import annotations

from verl_nthr.integration.config.run import Caution, Findings, Problem, Run
from verl_nthr.supported import installed_version, is_supported, requirement


def is_verl_supported() -> bool:
    """Whether the installed verl is one that this package was written for."""
    installed = installed_version("verl")
    return installed is not None and is_supported("verl", installed)


def check_versions(run: Run) -> Findings:
    """Refuse another verl, and warn of other packages that the run uses outside of their ranges."""
    if not is_verl_supported():
        found = installed_version("verl") or "of an unknown version"
        yield Problem(f"verl {found} is installed; install {requirement('verl')}")
    used = ["torch", "transformers"]
    used += ["vllm"] if run.get("actor_rollout_ref.rollout.name") == "vllm" else []
    used += ["megatron-core"] if run.get("actor_rollout_ref.actor.strategy") == "megatron" else []
    for package in used:
        installed = installed_version(package)
        if installed is not None and not is_supported(package, installed):
            yield Caution(f"{package} {installed} is installed; only {requirement(package)} is tested")
