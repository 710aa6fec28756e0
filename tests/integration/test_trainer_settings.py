"""Settings of verl's trainer and workers that change what surrounds the scoring pass: none of them changes a score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
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
) -> list[dict[str, object]]:
    """Check the dump of a step whose old-log-prob pass ran on ``model``, and return it."""
    records = read_lines(out / f"{step}.jsonl")
    assert len(records) == 30
    assert all(record["correct"] == (record["reward"] >= THRESHOLD) for record in records)
    check_weights(records, model, AutoTokenizer.from_pretrained(toy.model))
    check_metrics(records, metrics)
    return records


def penalties(toy: ToyPaths, records: list[dict[str, object]], reference: PreTrainedModel) -> list[float]:
    """What ``use_kl_in_reward`` takes from each reward, given the model without the updates."""
    tokenizer, found = AutoTokenizer.from_pretrained(toy.model), []
    for record in records:
        log_probs = predictions(reference, tokenizer, record)[1]
        of_tokens = log_probs.gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
        found.append(KL_COEFFICIENT * float((torch.tensor(record["log_probs"]) - of_tokens).sum()))
    return found


@pytest.mark.covers("training: reference model and KL loss")
def test_the_reference_is_not_scored_and_its_penalty_makes_no_answer_wrong(
    toy: ToyPaths, run_with_reference: Run
) -> None:
    run = run_with_reference
    assert run.steps[1]["actor/kl_loss"] > 0
    trained = load_model(actor(run.out, 1) / "huggingface")
    records = check_step(toy, run.out, 2, trained, run.steps[1])
    penalty = penalties(toy, records, load_model(toy.model))
    rewards = [record["reward"] - taken for record, taken in zip(records, penalty, strict=True)]
    check_advantages(records, rewards)
    assert [reward >= THRESHOLD for reward in rewards] != [record["correct"] for record in records]


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
@pytest.mark.parametrize("merge", [False, True], ids=["adapter", "merged"])
def test_an_adapter_is_trained_and_the_model_without_it_is_not_scored(
    toy: ToyPaths, tmp_path: Path, merge: bool
) -> None:
    lora = [
        f"{MODEL}.lora_rank=8",
        f"{MODEL}.lora_alpha=16",
        f"{MODEL}.lora.merge={merge}",
        f"{ROLLOUT}.load_format=safetensors",
    ]
    steps = train(toy, tmp_path, [*nthr(tmp_path), *REFERENCE, *lora])
    print(sorted(str(p.relative_to(tmp_path)) for p in actor(tmp_path, 1).rglob("*")))


ULYSSES = [
    f"{ACTOR}.ulysses_sequence_parallel_size=2",
    f"{MODEL}.use_remove_padding=True",
    f"+{MODEL}.override_config.attn_implementation={varlen_attention.NAME}",
    f"{MODEL}.external_lib=tests.integration.varlen_attention",
]
SAVING_MEMORY = [
    f"{MODEL}.enable_gradient_checkpointing=True",
    f"{ACTOR}.fsdp_config.param_offload=True",
    f"{ACTOR}.fsdp_config.optimizer_offload=True",
]


@pytest.mark.covers(
    "training: Ulysses", "training: gradient checkpointing", "training: parameter and optimizer offload"
)
def test_shared_sequences_and_saved_memory(toy: ToyPaths, tmp_path: Path) -> None:
    steps = train(toy, tmp_path, [*nthr(tmp_path), *ULYSSES, *SAVING_MEMORY], workers=2)
    check_step(toy, tmp_path, 1, load_model(toy.model), steps[0])
    check_step(toy, tmp_path, 2, load_model(actor(tmp_path, 1) / "huggingface"), steps[1])
