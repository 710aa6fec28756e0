"""verl's ``policy_loss`` node with the options of the loss terms, which verl's own class refuses."""

from __future__ import annotations

from dataclasses import dataclass

from verl.workers import config

from verl_nthr.integration.loss_options import LossTerms


@dataclass
class PolicyLossConfig(LossTerms, config.PolicyLossConfig):
    """For ``actor_rollout_ref.actor.policy_loss._target_``."""
