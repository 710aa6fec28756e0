"""Check for reward settings of verl before 0.9, which its ``main_ppo`` still takes and no longer reads."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config.run import Findings, Problem, Run
from verl_nthr.text import label

NODES = ("custom_reward_function", "reward_model", "sandbox_fusion")


def check_legacy_rewards(run: Run) -> Findings:
    """Refuse the old keys, and name those that are read."""
    for old, value in leaves(run.config, NODES):
        if value is not None:
            fix = ", ".join(f"{new}={label(str(value))}" for new, value in migrated(run.config, old)) or "reward.*"
            yield Problem(f"{old}={label(str(value))}: verl's main_ppo does not read it since 0.9; set {fix} instead")


def migrated(config: DictConfig, old: str) -> list[tuple[str, object]]:
    """List the settings that verl's own migration, which ``main_ppo`` (0.9) does not call, makes of one old key."""
    from verl.experimental.reward_loop import migrate_legacy_reward_impl

    copy = OmegaConf.create(OmegaConf.to_container(config))
    for key, value in leaves(copy, NODES):
        if key != old and value is not None:
            OmegaConf.update(copy, key, None)
    before = dict(leaves(copy, ("reward",)))
    after = leaves(migrate_legacy_reward_impl(copy), ("reward",))
    return [(key, value) for key, value in after if value is not None and before.get(key, ...) != value]


def leaves(config: DictConfig, nodes: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Yield dotted key and value of everything below some nodes."""
    for name in nodes:
        value = OmegaConf.select(config, name)
        if isinstance(value, DictConfig) and value:
            yield from leaves(config, tuple(f"{name}.{key}" for key in value))
        else:
            yield name, value
