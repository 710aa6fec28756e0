"""Settings of verl's trainer and workers that change what surrounds the scoring pass: none of them changes a score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedModel

from tests.integration import varlen_attention
from tests.integration.dumps import check_advantages, check_metrics, check_weights, load_model, predictions, read_lines
from tests.integration.runs import THRESHOLD, actor, nthr, train
from tests.toy import ToyPaths, make_toy

ACTOR, MODEL, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.model", "actor_rollout_ref.rollout"
KL_COEFFICIENT = 20.0
REFERENCE = [
    *[f"{ACTOR}.use_kl_loss=True", "algorithm.use_kl_in_reward=True"],
    f"algorithm.kl_ctrl.kl_coef={KL_COEFFICIENT}",
]
RANK, ALPHA = 8, 16
LORA = [f"{MODEL}.lora_rank={RANK}", f"{MODEL}.lora_alpha={ALPHA}", f"{ROLLOUT}.load_format=safetensors"]
ULYSSES = [
    f"{ACTOR}.ulysses_sequence_parallel_size=2",
    f"{MODEL}.use_remove_padding=True",
    f"{MODEL}.override_config.attn_implementation={varlen_attention.NAME}",
    f"{MODEL}.external_lib=tests.integration.varlen_everywhere",
]
SAVING_MEMORY = [
    f"{MODEL}.enable_gradient_checkpointing=True",
    f"{ACTOR}.fsdp_config.param_offload=True",
    f"{ACTOR}.fsdp_config.optimizer_offload=True",
]
"""Without a device to offload from, the last two run verl's code for it and move nothing."""
VALIDATION = ["trainer.val_before_train=True", "trainer.test_freq=1"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Run:
    """A finished run."""

    out: Path
    """What it wrote."""

    steps: list[dict[str, float]]
    """Metrics of its steps."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def run_with_reference(toy: ToyPaths, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("reference")
    return Run(out, train(toy, out, [*nthr(out), *REFERENCE, *VALIDATION]))


def check_step(
    toy: ToyPaths, out: Path, step: int, model: PreTrainedModel, metrics: dict[str, float]
) -> list[dict[str, Any]]:
    """Check the dump of a step whose old-log-prob pass ran on ``model``, and return it."""
    records = read_lines(out / f"{step}.jsonl")
    assert len(records) == 30
    assert all(record["correct"] == (record["reward"] >= THRESHOLD) for record in records)
    check_weights(records, model, AutoTokenizer.from_pretrained(toy.model))
    check_metrics(records, metrics)
    return records


def check_step_with_penalty(toy: ToyPaths, out: Path, model: PreTrainedModel, metrics: dict[str, float]) -> None:
    """Check the second step of a run with :data:`REFERENCE`, given the model that the first has updated.

    The rewards that verl's advantages come from are the scores without the penalty's KL divergence from the toy.
    """
    assert metrics["actor/kl_loss"] > 0
    records = check_step(toy, out, 2, model, metrics)
    reference, tokenizer = load_model(toy.model), AutoTokenizer.from_pretrained(toy.model)
    rewards = []
    for record in records:
        log_probs = predictions(reference, tokenizer, record)[1].gather(1, torch.tensor(record["token_ids"])[:, None])
        divergence = float((torch.tensor(record["log_probs"]) - log_probs[:, 0]).sum())
        rewards.append(record["reward"] - KL_COEFFICIENT * divergence)
    check_advantages(records, rewards)
    assert [reward >= THRESHOLD for reward in rewards] != [record["correct"] for record in records]


def with_adapter(toy: ToyPaths, saved: Path) -> PreTrainedModel:
    """The toy with the adapter that a run with :data:`LORA` has saved, merged by peft."""
    model = get_peft_model(load_model(toy.model), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear"))
    model.load_state_dict(load_file(saved / "huggingface" / "model.safetensors"))
    return model.merge_and_unload()


@pytest.mark.covers("training: reference model and KL loss")
def test_the_reference_is_not_scored_and_its_penalty_makes_no_answer_wrong(
    toy: ToyPaths, run_with_reference: Run
) -> None:
    run = run_with_reference
    check_step_with_penalty(toy, run.out, load_model(actor(run.out, 1) / "huggingface"), run.steps[1])


@pytest.mark.covers("training: validation")
def test_validation_leaves_the_steps_alone(toy: ToyPaths, run_with_reference: Run) -> None:
    run = run_with_reference
    logged = [line["data"] for line in read_lines(run.out / "metrics.jsonl")]
    assert len(logged) == 1 + len(run.steps)
    for metrics in logged:
        scores = [value for name, value in metrics.items() if name.startswith("val-core/")]
        assert scores
        assert all(math.isfinite(score) for score in scores)
    assert not any(name.startswith("nthr/") for name in logged[0])
    assert sorted(path.name for path in run.out.glob("*.jsonl")) == ["1.jsonl", "2.jsonl", "metrics.jsonl"]
    check_step(toy, run.out, 1, load_model(toy.model), run.steps[0])


@pytest.mark.covers("training: checkpoint and resume")
def test_a_resumed_run_weighs_as_if_it_had_never_stopped(
    toy: ToyPaths, run_with_reference: Run, tmp_path: Path
) -> None:
    checkpoint = actor(run_with_reference.out, 2).parent
    resume = ["trainer.resume_mode=resume_path", f"trainer.resume_from_path={checkpoint}"]
    (metrics,) = train(toy, tmp_path, [*nthr(tmp_path), *REFERENCE, *resume], steps=3)
    check_step(toy, tmp_path, 3, load_model(checkpoint / "actor" / "huggingface"), metrics)
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    assert any(path.name.startswith("optim") for path in files)
    assert not [path for path in files if b"nthr" in path.read_bytes()]


@pytest.mark.covers("training: LoRA")
def test_the_adapter_is_scored_and_the_model_without_it_is_the_reference(toy: ToyPaths, tmp_path: Path) -> None:
    steps = train(toy, tmp_path, [*nthr(tmp_path), *REFERENCE, *LORA])
    check_step_with_penalty(toy, tmp_path, with_adapter(toy, actor(tmp_path, 1)), steps[1])


@pytest.mark.covers(
    "training: Ulysses",
    "training: gradient checkpointing",
    "training: parameter and optimizer offload",
    "training: LoRA",
)
def test_shared_sequences_saved_memory_and_a_merged_adapter(toy: ToyPaths, tmp_path: Path) -> None:
    settings = [*ULYSSES, *SAVING_MEMORY, *LORA, f"{MODEL}.lora.merge=True"]
    steps = train(toy, tmp_path, [*nthr(tmp_path), *settings], workers=2)
    assert all(metrics["global_seqlen/max"] == metrics["perf/total_num_tokens"] for metrics in steps)
    check_step(toy, tmp_path, 1, load_model(toy.model), steps[0])
    check_step(toy, tmp_path, 2, with_adapter(toy, actor(tmp_path, 1)), steps[1])
