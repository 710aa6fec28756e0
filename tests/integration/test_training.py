"""Stock ``python -m verl.trainer.main_ppo`` trains with NTHR: Ray, TransferQueue, vLLM, FSDP2 on the CPU platform."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.integration.dumps import (
    check_advantages,
    check_metrics,
    check_monitor,
    check_weights,
    load_model,
    read_lines,
)
from tests.integration.runs import LONGEST, MONITOR, THRESHOLD, actor, nthr, train
from tests.toy import ToyPaths, make_toy

WITHOUT_SPECIAL_TOKENS = f"""
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    return float(len(solution_str) == {LONGEST})
"""
METRICS = {
    "nthr/eased_fraction",
    "nthr/mixed_group_fraction",
    "nthr/eta/mean",
    "nthr/tau/mean",
    "nthr/tau/negative_fraction",
    "nthr/score/mean",
    "nthr/score/max",
    "nthr/seconds",
    "nthr/nonfinite_groups",
    "nthr/lld/delta_logp/mean",
    "nthr/lld/delta_logp/p10",
    "nthr/lld/share_negative",
    "nthr/lld/share_lazy",
    "timing_s/lld_monitor",
    "critic/advantages/mean",
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.timeout(600)
@pytest.mark.covers("trainer: sync")
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_weights_of_a_training_run_are_those_computed_offline(toy: ToyPaths, tmp_path: Path, workers: int) -> None:
    check_run(toy, tmp_path, workers, [])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.covers("trainer: colocate_async")
def test_an_asynchronous_run_on_fsdp1_with_fused_kernels(toy: ToyPaths, tmp_path: Path) -> None:
    model = "actor_rollout_ref.model"
    fused = [f"{model}.use_fused_kernels=True", f"{model}.fused_kernel_options.impl_backend=torch"]
    packed_fsdp1 = [f"{model}.use_remove_padding=True", "actor_rollout_ref.actor.strategy=fsdp"]
    check_run(toy, tmp_path, 1, ["trainer.v1.trainer_mode=colocate_async", *fused, *packed_fsdp1])


def check_run(toy: ToyPaths, tmp_path: Path, workers: int, settings: list[str]) -> None:
    """Train, and compare the first step's dump and metrics with what Hugging Face and the double sums give."""
    steps = train(toy, tmp_path, [*nthr(tmp_path), *MONITOR, *settings], workers=workers)
    records = read_lines(tmp_path / "1.jsonl")
    assert len(records) == 30
    check_weights(records, load_model(toy.model), AutoTokenizer.from_pretrained(toy.model))
    check_advantages(records, [record["reward"] for record in records])
    check_metrics(records, steps[0])
    assert all(record["correct"] == (record["reward"] >= THRESHOLD) for record in records)
    for metrics in steps:
        assert set(metrics) >= METRICS
        assert all(math.isfinite(metrics[name]) for name in METRICS)
    models = load_model(toy.model), load_model(actor(tmp_path, 1) / "huggingface")
    check_monitor(records, AutoTokenizer.from_pretrained(toy.model), *models, steps[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_monitor_of_a_grpo_run(toy: ToyPaths, tmp_path: Path) -> None:
    reward = tmp_path / "reward.py"
    reward.write_text(WITHOUT_SPECIAL_TOKENS)
    scorer = f"reward.custom_reward_function.path={reward}"
    steps = train(toy, tmp_path, ["algorithm.adv_estimator=grpo", scorer, *MONITOR])
    for metrics in steps:
        assert set(metrics) >= {name for name in METRICS if "lld" in name}
        assert not any(name.startswith("nthr/") and not name.startswith("nthr/lld/") for name in metrics)
    tokenizer, models = AutoTokenizer.from_pretrained(toy.model), (toy.model, actor(tmp_path, 1) / "huggingface")
    records = stored_rollouts(tokenizer, tmp_path / "rollouts" / "1.jsonl")
    check_monitor(records, tokenizer, *(load_model(model) for model in models), steps[0])


def stored_rollouts(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[dict[str, Any]]:
    """verl's own dump, which has text without special tokens: right for the correct responses, which have none."""
    records = []
    for entry in read_lines(path):
        tokens = tokenizer(entry["output"], add_special_tokens=False).input_ids
        messages = [{"role": "user", "content": re.search(r"user\n(.*?)\s*assistant", entry["input"], re.S)[1]}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        correct, mask = entry["score"] >= THRESHOLD, [1] * len(tokens)
        records.append({"prompt": prompt, "token_ids": tokens, "mask": mask, "correct": correct})
    return records
