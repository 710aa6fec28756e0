"""verl's ``policy_loss`` node with the options of the loss terms, which verl's own class refuses."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from verl.workers import config

from verl_nthr.integration.config.loss_options import LossTerms


@dataclass
class PolicyLossConfig(LossTerms, config.PolicyLossConfig):
    """For ``actor_rollout_ref.actor.policy_loss._target_``.

    Raises:
        ValueError: a bad value.
        RuntimeError: a term is asked for, and verl has not loaded the plugin that would add it.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_active and "verl_nthr.integration.plugin" not in sys.modules:
            raise RuntimeError(
                "loss terms are asked for, but verl has not loaded verl-nthr's plugin in this process; unset "
                "VERL_USE_EXTERNAL_PLUGINS, or add nthr to it"
            )
