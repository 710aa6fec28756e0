"""Advantage estimators of this package, and their registration in verl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from verl_nthr.advantages import RULES
from verl_nthr.weighting import WEIGHTINGS

DR_GRPO = "dr_grpo"
"""verl's GRPO without the standard deviation, whatever ``algorithm.norm_adv_by_std_in_grpo`` says."""

VERL_BASES = ("grpo", "grpo_passk", "rloo", "opo", "gpg", "reinforce_plus_plus_baseline")
"""Estimators of verl that take the rewards of groups and nothing else."""

BASES = (*VERL_BASES, DR_GRPO, *RULES)


@dataclass(frozen=True)
class Estimator:
    """An advantage estimator: a base advantage times token weights.

    Attributes:
        base: one of :data:`BASES`.
        weighting: one of :data:`verl_nthr.weighting.WEIGHTINGS`, or None for no weights.
    """

    base: str
    weighting: str | None = None

    @property
    def is_scored(self) -> bool:
        """True if the old-log-prob pass has to score the tokens."""
        return self.weighting is not None and WEIGHTINGS[self.weighting].is_scored

    @property
    def is_binary(self) -> bool:
        """True if the base advantage looks at correctness alone."""
        return self.base in RULES and RULES[self.base].binary

    @property
    def compares_group(self) -> bool:
        """True if an advantage depends on the other responses of the group."""
        return self.base not in RULES or RULES[self.base].compares_group


ESTIMATORS: dict[str, Estimator] = {
    "nthr": Estimator("grpo", "nthr"),
    "thr": Estimator("grpo", "thr"),
    "nthr_random": Estimator("grpo", "random"),
    "pos_only": Estimator("grpo", "positive"),
    "neg_only": Estimator("grpo", "negative"),
    **{name: Estimator(name) for name in (DR_GRPO, *RULES)},
}
"""By ``algorithm.adv_estimator``; ``algorithm.nthr.base`` and ``.weighting`` set what a name leaves open."""


def estimator_of(config: Mapping[str, Any]) -> Estimator | None:
    """Find the estimator of this package that a run asks for, or None."""
    algorithm = config["algorithm"]
    named = ESTIMATORS.get(str(algorithm["adv_estimator"]))
    if named is None:
        return None
    options = algorithm.get("nthr") or {}
    return Estimator(options.get("base") or named.base, options.get("weighting") or named.weighting)


def register(core_algos: ModuleType) -> None:
    """Enter the names of :data:`ESTIMATORS` in the registry of ``verl.trainer.ppo.core_algos`` (0.9)."""
    for name in ESTIMATORS:
        core_algos.register_adv_est(name)(_stand_in(name))


def are_registered(core_algos: ModuleType) -> bool:
    """Tell whether all names of :data:`ESTIMATORS` are in verl's registry."""
    return set(ESTIMATORS) <= set(core_algos.ADV_ESTIMATOR_REGISTRY)


def _stand_in(name: str) -> Callable[..., NoReturn]:
    def compute(**_: Any) -> NoReturn:
        raise RuntimeError(
            f"algorithm.adv_estimator={name} reached verl's estimator registry: this trainer does not pass through "
            "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_advantage, which computes it. Use the V1 trainer "
            "(trainer.use_v1=True) of verl 0.9."
        )

    compute.__name__ = f"compute_{name}_advantage"
    return compute
