"""verl's group filter, narrowed to one kind of homogeneous groups.

verl's filter (``algorithm.filter_groups.enable``, DAPO) drops every group whose responses share one metric. Methods
that learn from all-wrong or all-correct groups need those kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from verl_nthr.integration.config.options import ALL_CORRECT, HOMOGENEOUS, AlgorithmOptions

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer


def around_build_replay_buffer(
    wrapped: Callable[..., ReplayBuffer], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ReplayBuffer:
    replay_buffer = wrapped(*args, **kwargs)
    if "drop" not in (trainer.config.algorithm.get("filter_groups") or {}):
        return replay_buffer
    options = AlgorithmOptions.from_config(trainer.config.algorithm)
    if options.filter_groups.drop != HOMOGENEOUS:
        narrow_filter(replay_buffer, options)
    return replay_buffer


def narrow_filter(replay_buffer: ReplayBuffer, options: AlgorithmOptions) -> None:
    """Make one of verl's replay buffers drop only the groups that ``algorithm.filter_groups.drop`` names.

    Replaces this buffer's ``_dapo_filtered_keys`` (0.9), through which verl asks which groups to drop before it
    evicts, refills and counts. A group whose responses share a metric of at least
    ``algorithm.nthr.reward_threshold`` is all-correct, one that shares a lower metric is all-wrong.
    """
    homogeneous_groups = replay_buffer._dapo_filtered_keys
    dropped_is_correct = options.filter_groups.drop == ALL_CORRECT

    def filtered_keys(partition_id: str) -> tuple[set[str], Counter[float]]:
        uids, _ = homogeneous_groups(partition_id)
        metric = replay_buffer._dapo_classification_cache[partition_id]
        dropped = {uid for uid in uids if (metric[uid] >= options.nthr.reward_threshold) == dropped_is_correct}
        return dropped, Counter(metric[uid] for uid in dropped)

    replay_buffer._dapo_filtered_keys = filtered_keys
