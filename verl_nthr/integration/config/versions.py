"""The installed versions, against :data:`verl_nthr.supported.RANGES`.

verl is what this package changes: a run on another verl is refused. The other packages it only reads from, and a pass
whose log-probs do not follow from what was read is an error in any case, so that a warning is enough.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_nthr.supported import installed_version, is_supported, requirement


def is_verl_supported() -> bool:
    """Whether the installed verl is one that this package was written for."""
    installed = installed_version("verl")
    return installed is not None and is_supported("verl", installed)


def refused() -> Iterator[str]:
    """Why no run that asks for this package can work with the installed verl."""
    if not is_verl_supported():
        version = installed_version("verl")
        installed = "verl of an unknown version" if version is None else f"verl=={version}"
        yield f"{installed} is installed; supported is {requirement('verl')}, so install one of those"


def warn_of_untested(config: DictConfig) -> None:
    """Warn of the other packages that a run uses outside of their ranges; Python shows each text once a process."""
    used = ["torch", "transformers"]
    used += ["vllm"] if OmegaConf.select(config, "actor_rollout_ref.rollout.name") == "vllm" else []
    used += ["megatron-core"] if config.actor_rollout_ref.actor.strategy == "megatron" else []
    for package in used:
        installed = installed_version(package)
        if installed is not None and not is_supported(package, installed):
            warnings.warn(
                f"{package}=={installed} is installed; verl-nthr was written for {requirement(package)}, and with "
                "others only what fails is noticed",
                stacklevel=1,
            )
