"""Runs whose rows are not one answer each: observations, several outputs a session, filtered groups, padding rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.integration.dumps import (
    check_advantages,
    check_metrics,
    check_monitor,
    check_weights,
    load_model,
    read_lines,
)
from tests.integration.runs import MONITOR, actor, nthr, train
from tests.toy import make_toy

OBSERVATION = "Z?Q:X"
LOOPS = f"""
- name: two_turns
  _target_: tests.integration.two_turns.TwoTurns
  observation: "{OBSERVATION}"
"""
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    digits = sum(character.isdigit() for character in solution_str)
    return {"score": digits / 10, "acc": float(int(ground_truth) % 4 > 0 and digits % 2 == 0)}
"""
"""The metric ``acc`` is another one than the score. The toy's sums are even; half of them have no right answer."""

GROUPS, SESSIONS, ROWS_OF_GROUP, PADDED_TO = 6, 5, 6, 60


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.covers(
    "training: group filtering (DAPO)",
    "training: upsampled padding rows",
    "training: multi-turn with masked tokens",
    "training: several outputs a session",
)
@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_only_what_the_model_wrote_is_scored_session_by_session(tmp_path: Path, mode: str) -> None:
    toy = make_toy(tmp_path / "toy")
    reward, loops = tmp_path / "reward.py", tmp_path / "loops.yaml"
    reward.write_text(REWARD)
    loops.write_text(LOOPS)
    (metrics,) = train(
        toy,
        tmp_path,
        [
            *nthr(tmp_path),
            *MONITOR,
            f"trainer.v1.trainer_mode={mode}",
            f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops}",
            "actor_rollout_ref.rollout.agent.default_agent_loop=two_turns",
            f"reward.custom_reward_function.path={reward}",
            "algorithm.filter_groups.enable=True",
            *["algorithm.filter_groups.metric=acc", "+algorithm.nthr.metric=acc"],
        ],
        steps=1,
    )
    assert metrics["training/filter_groups/evicted_samples"] > 0
    assert metrics["nthr/mixed_group_fraction"] == 1

    records = read_lines(tmp_path / "1.jsonl")
    stored = read_lines(tmp_path / "rollouts" / "1.jsonl")
    keys = [row["uid"] for row in stored if not row["uid"].startswith("pad")]
    assert (len(stored), len(keys), len(records)) == (PADDED_TO, GROUPS * ROWS_OF_GROUP, GROUPS * ROWS_OF_GROUP)
    # verl's own dump has the same order
    assert [key.split("_")[0] for key in keys] == [record["uid"] for record in records]
    sessions = [key.rpartition("_")[0] for key in keys]

    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    last_output = dict(zip(sessions, records, strict=True))
    texts = {s: tokenizer.decode(last["token_ids"], skip_special_tokens=True) for s, last in last_output.items()}
    digits = [sum(character.isdigit() for character in texts[session]) for session in sessions]
    assert [record["correct"] for record in records] == [count % 2 == 0 for count in digits]
    assert [record["reward"] for record in records] == pytest.approx([count / 10 for count in digits])

    sampled = load_model(toy.model)
    check_weights(records, sampled, tokenizer, sessions)
    check_advantages(records, [record["reward"] for record in records], sessions)
    check_metrics(records, metrics)
    check_monitor(records, tokenizer, sampled, load_model(actor(tmp_path, 1) / "huggingface"), metrics)
    check_observations(records, tokenizer(OBSERVATION, add_special_tokens=False).input_ids)


def check_observations(records: list[dict[str, Any]], observation: list[int]) -> None:
    """Every session was shown the observation, and there are groups where the model did not write all of its tokens."""
    written: dict[str, set[int]] = {}
    shown = 0
    for record in records:
        tokens = list(zip(record["token_ids"], record["mask"], strict=True))
        written.setdefault(record["uid"], set()).update(token for token, inside in tokens if inside)
        shown += [token for token, inside in tokens if not inside] == observation
    assert shown == GROUPS * SESSIONS
    assert not all(set(observation) <= tokens for tokens in written.values())
