"""Check of the installed versions against :data:`verl_nthr.supported.RANGES`.

This package changes verl, so a run on another verl is refused. For the other packages a warning is enough: their
results are only read, and log-probs that do not follow from them are an error.
"""

from __future__ import annotations

from verl_nthr.integration.config.run import Caution, Findings, Problem, Run
from verl_nthr.supported import installed_version, is_supported, requirement


def is_verl_supported() -> bool:
    """Tell whether this package supports the installed verl."""
    installed = installed_version("verl")
    return installed is not None and is_supported("verl", installed)


def check_versions(run: Run) -> Findings:
    """Refuse another verl, and warn of other packages outside of their ranges that the run uses."""
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
