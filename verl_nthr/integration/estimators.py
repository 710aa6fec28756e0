"""The advantage estimators of this package and how verl comes to know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

import wrapt


@dataclass(frozen=True)
class Estimator:
    """An advantage estimator: verl's ``base`` advantage times token weights."""

    base: str


ESTIMATORS: dict[str, Estimator] = {"nthr": Estimator(base="grpo")}


def estimator_of(config: Mapping[str, Any]) -> Estimator | None:
    """The estimator of this package that a run asks for by ``algorithm.adv_estimator``, or None."""
    return ESTIMATORS.get(str(config["algorithm"]["adv_estimator"]))


def register(core_algos: ModuleType) -> None:
    """Enter the names of :data:`ESTIMATORS` in the registry of ``verl.trainer.ppo.core_algos`` (0.9)."""
    for name in ESTIMATORS:
        core_algos.register_adv_est(name)(_stand_in(name))


def override_trainer_base(trainer_base: ModuleType) -> None:
    """Wrap ``compute_advantage_for_multi_trajectories`` as ``verl.trainer.ppo.v1.trainer_base`` (0.9) calls it.

    It special-cases only the name "grpo" for sessions with several outputs; our estimators take the path of their base.
    The weights are applied by :func:`verl_nthr.integration.trainer.compute_advantage`.
    """
    wrapt.wrap_function_wrapper(trainer_base, "compute_advantage_for_multi_trajectories", _compute_base_advantage)


def _compute_base_advantage(
    wrapped: Callable[..., Any], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    estimator = ESTIMATORS.get(str(kwargs.get("adv_estimator")))
    if estimator is not None:
        kwargs = kwargs | {"adv_estimator": estimator.base}
    return wrapped(*args, **kwargs)


def _stand_in(name: str) -> Callable[..., NoReturn]:
    def compute(**_: Any) -> NoReturn:
        raise RuntimeError(
            f"algorithm.adv_estimator={name} reached verl's estimator registry: this trainer does not pass through "
            "verl.trainer.ppo.v1.trainer_base.PPOTrainer, where the token weights are applied. Use the V1 trainer "
            "(trainer.use_v1=True) of verl 0.9."
        )

    compute.__name__ = f"compute_{name}_advantage"
    return compute
