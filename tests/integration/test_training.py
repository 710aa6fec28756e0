"""Stock ``python -m verl.trainer.main_ppo`` trains with NTHR: Ray, TransferQueue, vLLM, FSDP2 on the CPU platform."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.integration.runs import LONGEST, TEMPERATURE, THRESHOLD, train
from tests.toy import ToyPaths, make_toy
from verl_nthr import nthr_weights_reference

BETA, EPSILON = 0.02, 0.05
WITHOUT_SPECIAL_TOKENS = f"""
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    return float(len(solution_str) == {LONGEST})
"""
METRICS = {
    "nthr/selected_fraction",
    "nthr/mixed_group_fraction",
    "nthr/eta/mean",
    "nthr/tau/mean",
    "nthr/tau/negative_fraction",
    "nthr/score/mean",
    "nthr/score/max",
    "nthr/seconds",
    "nthr/lld/delta_logp/mean",
    "nthr/lld/delta_logp/p10",
    "nthr/lld/share_negative",
    "nthr/lld/share_lazy",
    "timing_s/lld_monitor",
    "critic/advantages/mean",
}
MONITOR = ["+algorithm.nthr.monitor_freq=1", f"+algorithm.nthr.monitor_epsilon={EPSILON}"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_weights_of_a_training_run_are_those_computed_offline(toy: ToyPaths, tmp_path: Path, workers: int) -> None:
    check_run(toy, tmp_path, workers, [])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_asynchronous_run_on_fsdp1_with_fused_kernels(toy: ToyPaths, tmp_path: Path) -> None:
    model = "actor_rollout_ref.model"
    fused = [f"{model}.use_fused_kernels=True", f"{model}.fused_kernel_options.impl_backend=torch"]
    packed_fsdp1 = [f"{model}.use_remove_padding=True", "actor_rollout_ref.actor.strategy=fsdp"]
    check_run(toy, tmp_path, 1, ["trainer.v1.trainer_mode=colocate_async", *fused, *packed_fsdp1])


def check_run(toy: ToyPaths, tmp_path: Path, workers: int, settings: list[str]) -> None:
    """Train, and compare the first step's dump and metrics with what Hugging Face and the double sums give."""
    own = [f"+algorithm.nthr.beta={BETA}", f"+algorithm.nthr.token_dump_dir={tmp_path}"]
    steps = train(toy, tmp_path, ["algorithm.adv_estimator=nthr", *own, *MONITOR, *settings], workers=workers)
    records = [json.loads(line) for line in (tmp_path / "1.jsonl").read_text().splitlines()]
    assert len(records) == 30
    compare_with_hugging_face(toy, records)
    check_advantages(records)
    for metrics in steps:
        assert set(metrics) >= METRICS
        assert all(math.isfinite(metrics[name]) for name in METRICS)
    selected = [
        w < 1 for r in records for w, s in zip(r["weights"], r["scores"], strict=True) if s and not r["correct"]
    ]
    assert steps[0]["nthr/selected_fraction"] == pytest.approx(sum(selected) / len(selected))
    weighted = [w * r["advantage"] for r in records for w, m in zip(r["weights"], r["mask"], strict=True) if m]
    assert steps[0]["critic/advantages/mean"] == pytest.approx(sum(weighted) / len(weighted), abs=1e-5)
    compare_monitor(toy, tmp_path, records, steps[0])


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
    compare_monitor(toy, tmp_path, stored_rollouts(toy, tmp_path / "rollouts" / "1.jsonl"), steps[0])


def stored_rollouts(toy: ToyPaths, path: Path) -> list[dict[str, Any]]:
    """verl's own dump, which has text without special tokens: right for the correct responses, which have none."""
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    records = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        tokens = tokenizer(entry["output"], add_special_tokens=False).input_ids
        messages = [{"role": "user", "content": re.search(r"user\n(.*?)\s*assistant", entry["input"], re.S)[1]}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        records.append({"prompt": prompt, "token_ids": tokens, "correct": entry["score"] >= THRESHOLD})
    return records


def compare_monitor(toy: ToyPaths, out: Path, records: list[dict[str, Any]], metrics: dict[str, float]) -> None:
    """Δ of the first step's correct responses, from the model that was saved after its update."""
    updated = out / "global_step_1" / "actor" / "huggingface"
    correct = [record for record in records if record["correct"]]
    before, after = (sequence_log_likelihoods(toy, folder, correct) for folder in (toy.model, updated))
    delta = after - before
    assert metrics["nthr/lld/delta_logp/mean"] == pytest.approx(float(delta.mean()), abs=1e-4)
    assert metrics["nthr/lld/delta_logp/p10"] == pytest.approx(float(delta.quantile(0.1)), abs=1e-4)
    assert metrics["nthr/lld/share_negative"] == pytest.approx(float((delta < 0).double().mean()))
    assert metrics["nthr/lld/share_lazy"] == pytest.approx(float((delta < EPSILON).double().mean()))
    assert delta.abs().max() > 1e-2, "the update must have moved the model"


def sequence_log_likelihoods(toy: ToyPaths, folder: Path, records: list[dict[str, Any]]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    found = []
    for record in records:
        prompt = tokenizer(record["prompt"], add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(torch.tensor([prompt + record["token_ids"]])).logits[0, len(prompt) - 1 : -1]
        log_probs = torch.log_softmax(logits.double() / TEMPERATURE, dim=-1)
        found.append(log_probs.gather(1, torch.tensor(record["token_ids"])[:, None]).sum())
    return torch.stack(found)


def compare_with_hugging_face(toy: ToyPaths, records: list[dict[str, Any]]) -> None:
    """Scores, τ and weights of the first step equal the float64 double sums on the untrained model's hidden states."""
    model = AutoModelForCausalLM.from_pretrained(toy.model, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    uids = sorted({record["uid"] for record in records})
    hidden, response = [], []
    for i, record in enumerate(records):
        prompt = tokenizer(record["prompt"], add_special_tokens=False).input_ids
        with torch.no_grad():
            output = model(torch.tensor([prompt + record["token_ids"]]), output_hidden_states=True)
        states = output.hidden_states[-1][0, len(prompt) - 1 : -1]
        distribution = torch.log_softmax(output.logits[0, len(prompt) - 1 : -1] / TEMPERATURE, dim=-1)
        log_probs = distribution.gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
        assert record["log_probs"] == pytest.approx(log_probs.tolist(), abs=1e-5)
        entropies = -(distribution.exp() * distribution).sum(dim=-1)
        assert record["entropies"] == pytest.approx(entropies.tolist(), abs=1e-5)
        assert record["correct"] == (record["reward"] >= THRESHOLD)
        hidden.append(states)
        response += [i] * len(states)
    group = torch.tensor([uids.index(record["uid"]) for record in records])
    expected = nthr_weights_reference(
        torch.cat(hidden),
        torch.tensor([token for record in records for token in record["token_ids"]]),
        torch.tensor(response),
        group,
        torch.tensor([record["correct"] for record in records]),
        model.get_output_embeddings().weight.detach(),
        temperature=TEMPERATURE,
        beta=BETA,
    )
    mixed = (expected.success_rate > 0) & (expected.success_rate < 1)
    scale = float(expected.scores.abs().max())
    token = 0
    for i, record in enumerate(records):
        in_play = bool(mixed[group[i]])
        assert (record["tau"] is not None) == in_play
        for score, weight in zip(record["scores"], record["weights"], strict=True):
            if in_play:
                assert score == pytest.approx(float(expected.scores[token]), abs=1e-4 * scale)
                if abs(score - record["tau"]) > 1e-4 * scale:
                    assert weight == pytest.approx(float(expected.weight[token]), abs=1e-6)
            else:
                assert score is None
                assert weight == 1.0
            token += 1
    assert int(expected.selected.sum()) > 0, "the run must put the selection to the test"


def check_advantages(records: list[dict[str, Any]]) -> None:
    """The dumped base advantage is GRPO's: the reward standardised within its group."""
    for uid in {record["uid"] for record in records}:
        members = [record for record in records if record["uid"] == uid]
        rewards = torch.tensor([record["reward"] for record in members], dtype=torch.float64)
        expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        found = [record["advantage"] for record in members]
        assert found == pytest.approx(expected.tolist(), abs=1e-4)
