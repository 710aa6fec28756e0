"""verl's filter of groups, narrowed: against verl's replay buffers, its configuration, and a real run."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from tests.integration.dumps import read_lines
from tests.integration.runs import nthr, train
from tests.integration.test_options import stock
from tests.toy import make_toy
from verl_nthr.integration.config.validation import check_run

ENABLED = ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=reward"]
GROUPS = {
    "mixed": [0.0, 1.0, 0.0],
    "right": [1.0, 1.0, 1.0],
    "wrong": [0.0, 0.0, 0.0],
    "edge": [0.5, 0.5, 0.5],
    "shaped": [0.1, 0.2, 0.1],
    "minus": [-1.0, -1.0, -1.0],
}
"""Metric of each response, by group. A metric of 0.5 is correct; "shaped" is all wrong, but not alike."""

DROPPED = {
    "homogeneous": {"right", "wrong", "edge", "minus"},
    "all_correct": {"right", "edge"},
    "all_wrong": {"wrong", "minus"},
}


class Queue:
    """TransferQueue in this process, as far as verl's replay buffers use it; finished groups only.

    A buffer that looks for more than 5 times waits for groups that it will not get.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.tags: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.rows: dict[str, dict[str, Any]] = {}

    def put_group(self, uid: str, metrics: list[float], partition_id: str = "train") -> None:
        self.tags[partition_id][uid] = {"is_prompt": True, "status": "finished", "global_steps": 1}
        for session, metric in enumerate(metrics):
            key = f"{uid}_{session}_0"
            self.tags[partition_id][key] = {"global_steps": 1}
            self.rows[key] = {
                "rm_scores": torch.tensor([0.0, metric]),
                "extra_fields": {"reward_extra_info": {"acc": metric}},
            }

    def kv_list(self) -> dict[str, dict[str, dict[str, Any]]]:
        self.looks += 1
        assert self.looks <= 5
        return {partition_id: dict(tags) for partition_id, tags in self.tags.items()}

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> Any:
        from verl.utils.tensordict_utils import list_of_dict_to_tensordict

        return list_of_dict_to_tensordict([{name: self.rows[key][name] for name in select_fields} for key in keys])

    def kv_clear(self, partition_id: str, keys: list[str]) -> None:
        for key in keys:
            del self.tags[partition_id][key]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    from verl.trainer.ppo.v1 import replay_buffer

    queue = Queue()
    for name in ("kv_list", "kv_batch_get", "kv_clear"):
        monkeypatch.setattr(replay_buffer.tq, name, getattr(queue, name))
    return queue


def configuration(*overrides: str) -> DictConfig:
    return stock("algorithm.adv_estimator=grpo", "data.train_batch_size=2", *overrides)


def build_buffer(config: DictConfig, refills: list[int] | None = None) -> Any:
    """The replay buffer that verl's trainer of this mode makes; the prompts that it asks for go to ``refills``."""
    import verl.trainer.main_ppo  # noqa: F401  registers the trainers
    from verl.trainer.ppo.v1.trainer_base import get_trainer_cls

    mode = config.trainer.v1.trainer_mode
    trainer = object.__new__(get_trainer_cls(mode))
    trainer.config, trainer.trainer_mode = config, mode
    trainer._add_prompts_to_generate = (refills if refills is not None else []).append
    buffer = trainer._build_replay_buffer()
    buffer.poll_interval = 0
    return buffer


@pytest.mark.covers("trainer: filter by correctness, on verl's replay buffers")
@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
@pytest.mark.parametrize("metric", ["reward", "acc"])
@pytest.mark.parametrize("dropped", DROPPED)
def test_only_the_named_groups_are_dropped(queue: Queue, mode: str, metric: str, dropped: str) -> None:
    keys = [*ENABLED, f"algorithm.filter_groups.metric={metric}", f"trainer.v1.trainer_mode={mode}"]
    ours = [f"+algorithm.filter_groups.drop={dropped}", f"+algorithm.nthr.metric={metric}"]
    config = configuration(*keys, *ours)
    check_run(config)
    refills: list[int] = []
    buffer = build_buffer(config, refills)
    for uid, metrics in GROUPS.items():
        queue.put_group(uid, metrics)
    kept = set(GROUPS) - DROPPED[dropped]

    batch, metrics = buffer.sample(global_steps=1, partition_id="train", batch_size=len(kept))
    assert Counter(key.split("_")[0] for key in batch.keys) == {uid: 3 for uid in kept}
    assert metrics["training/filter_groups/evicted_samples"] == len(DROPPED[dropped])
    assert metrics["_dapo_filtered_reward_counts"] == {GROUPS[uid][0]: 1 for uid in DROPPED[dropped]}
    # verl's synchronous buffer refills only while it lacks groups
    assert refills == ([] if mode == "sync" else [len(DROPPED[dropped])])
    assert {key.split("_")[0] for key in queue.tags["train"]} == kept


def test_what_is_dropped_is_refilled_and_what_was_kept_stays_kept(queue: Queue) -> None:
    config = configuration(*ENABLED, "+algorithm.filter_groups.drop=all_correct", "data.train_batch_size=8")
    buffer = build_buffer(config)
    supply = iter([{"c": [1.0, 1.0]}, {"d": [0.0, 0.0], "e": [0.0, 1.0]}])
    refills: list[int] = []

    def refill(count: int) -> None:
        refills.append(count)
        for uid, metrics in next(supply).items():
            queue.put_group(uid, metrics)

    buffer.refill_fn = refill
    queue.put_group("a", [0.0, 0.0])
    queue.put_group("b", [1.0, 1.0])
    batch, metrics = buffer.sample(global_steps=1, partition_id="train", batch_size=3)
    # verl asks for two prompts for each one dropped
    assert refills == [2, 2]
    assert {key.split("_")[0] for key in batch.keys} == {"a", "d", "e"}
    assert metrics["training/filter_groups/evicted_samples"] == 2
    assert metrics["_dapo_filtered_reward_counts"] == {1.0: 2}


def test_the_threshold_says_what_is_correct(queue: Queue) -> None:
    ours = ["+algorithm.filter_groups.drop=all_wrong", "+algorithm.nthr.reward_threshold=-1"]
    buffer = build_buffer(configuration(*ENABLED, *ours))
    for uid, metrics in GROUPS.items():
        queue.put_group(uid, metrics)
    buffer._sync_metadata_from_transfer_queue()
    assert buffer._dapo_filtered_keys("train") == (set(), Counter())
    queue.put_group("worse", [-2.0, -2.0])
    buffer._sync_metadata_from_transfer_queue()
    assert buffer._dapo_filtered_keys("train") == ({"worse"}, Counter({-2.0: 1}))


def test_validation_is_not_filtered(queue: Queue) -> None:
    buffer = build_buffer(configuration(*ENABLED, "+algorithm.filter_groups.drop=all_wrong"))
    for uid, metrics in GROUPS.items():
        queue.put_group(uid, metrics, partition_id="val")
    batch, metrics = buffer.sample(global_steps=1, partition_id="val", batch_size=len(GROUPS))
    assert {key.split("_")[0] for key in batch.keys} == set(GROUPS)
    assert metrics == {}


@pytest.mark.parametrize("ours", [[], ["+algorithm.filter_groups.drop=homogeneous"], ["+algorithm.nthr.beta=0"]])
def test_a_run_that_does_not_ask_for_it_has_verls_buffer(queue: Queue, ours: list[str]) -> None:
    buffer = build_buffer(configuration(*ENABLED, *ours))
    assert "_dapo_filtered_keys" not in vars(buffer)


REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    kind = extra_info["index"] % 3
    right = (0, 1, sum(character.isdigit() for character in solution_str) % 2)[kind]
    return {"score": float(right), "acc": float(right), "kind": kind}
"""
"""A third of the prompts has no right answer, a third no wrong one, and a third has some of both, as a rule."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.covers("training: filter by correctness")
@pytest.mark.parametrize(
    ("estimator", "mode", "dropped", "gone", "kept"),
    [("nthr", "sync", "all_correct", 1.0, 0.0), ("grpo", "colocate_async", "all_wrong", 0.0, 1.0)],
)
def test_a_run_keeps_one_kind_of_groups_and_drops_the_other(
    tmp_path: Path, estimator: str, mode: str, dropped: str, gone: float, kept: float
) -> None:
    reward = tmp_path / "reward.py"
    reward.write_text(REWARD)
    steps = train(
        make_toy(tmp_path / "toy"),
        tmp_path,
        [
            *(nthr(tmp_path) if estimator == "nthr" else [f"algorithm.adv_estimator={estimator}"]),
            *ENABLED,
            f"+algorithm.filter_groups.drop={dropped}",
            f"trainer.v1.trainer_mode={mode}",
            f"reward.custom_reward_function.path={reward}",
        ],
    )
    means: set[float] = set()
    for step, metrics in enumerate(steps, start=1):
        rows = read_lines(tmp_path / "rollouts" / f"{step}.jsonl")
        groups: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            groups[row["uid"].split("_")[0]].append(row["score"])
        assert [len(scores) for scores in groups.values()] == [5] * 6
        of_step = {sum(scores) / 5 for scores in groups.values()}
        assert gone not in of_step
        assert metrics["training/filter_groups/evicted_samples"] > 0
        means |= of_step
    assert kept in means
    assert means - {kept}
