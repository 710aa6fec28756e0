"""verl's separate asynchronous trainer with NTHR: the updates of a step are all scored under the policy before them.

verl puts that policy's weights in place for every old-log-prob pass of the step; the one that answered is still older.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.integration.dumps import check_advantages, check_weights, load_model, predictions, read_lines
from tests.integration.runs import MONITOR, actor, nthr, train
from tests.integration.test_training import METRICS
from tests.toy import make_toy
from verl_nthr.cpu import overrides

STEPS, UPDATES, PROMPTS, RESPONSES = 3, 2, 6, 5
SEPARATE = [
    f"trainer.v1.separate_async.parameter_sync_step={UPDATES}",
    f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS // UPDATES}",
    "algorithm.rollout_correction.rollout_is=token",
]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.covers("trainer: separate_async")
def test_every_update_of_a_step_is_scored_under_the_policy_before_the_step(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    separate = partial(overrides, separate_rollouts=1)
    steps = train(toy, tmp_path, [*nthr(tmp_path), *MONITOR, *SEPARATE], platform=separate, steps=STEPS)
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    models = [
        load_model(toy.model),
        *(load_model(actor(tmp_path, step) / "huggingface") for step in range(1, 1 + STEPS)),
    ]
    for step, metrics in enumerate(steps, start=1):
        records = read_lines(tmp_path / f"{step}.jsonl")
        updates = [records[: len(records) // UPDATES], records[len(records) // UPDATES :]]
        assert [len({record["uid"] for record in update}) for update in updates] == [PROMPTS // UPDATES] * UPDATES
        assert len(records) == PROMPTS * RESPONSES
        for update in updates:
            check_weights(update, models[step - 1], tokenizer)
            check_advantages(update, [record["reward"] for record in update])
            # this would fail with the policy of any other step
            for other in models[: step - 1] + models[step:]:
                assert largest_difference(update, other, tokenizer) > 1e-2
        # and with the weights in training, from which verl's own measure tells the old policy apart
        assert abs(metrics["actor/ppo_kl"]) > 1e-5
        assert set(metrics) >= METRICS | {"rollout_corr/rollout_is_mean"}
        assert all(math.isfinite(metrics[name]) for name in METRICS)
        selected = [selected_fraction(update) for update in updates]
        assert metrics["nthr/eased_fraction"] == pytest.approx(sum(selected) / UPDATES)
    # the policy that answered is older still
    assert [metrics["training/off_policy/trajectory_staleness/mean"] > 0 for metrics in steps] == [False, True, True]
    assert [metrics["training/rollout_probs_diff_mean"] > 1e-4 for metrics in steps] == [False, True, True]


def largest_difference(records: list[dict[str, Any]], model: Any, tokenizer: PreTrainedTokenizerBase) -> float:
    """Between the log-probs of a dump and those of another model."""
    differences = []
    for record in records:
        log_probs = predictions(model, tokenizer, record)[1].gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
        differences.append(float((log_probs - torch.tensor(record["log_probs"])).abs().max()))
    return max(differences)


def selected_fraction(records: list[dict[str, Any]]) -> float:
    """Of the tokens of wrong answers in mixed groups."""
    of_wrong = [zip(r["weights"], r["scores"], strict=True) for r in records if not r["correct"]]
    spared = [weight < 1 for pairs in of_wrong for weight, score in pairs if score is not None]
    return sum(spared) / len(spared)
