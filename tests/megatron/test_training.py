"""Stock ``python -m verl.trainer.main_ppo`` trains with NTHR on verl's Megatron engine, cut over two workers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tests.integration.dumps import check_advantages, check_metrics, check_weights, load_model, predictions, read_lines
from tests.integration.runs import nthr
from tests.megatron.replay import Replay
from tests.megatron.runs import ADAM_EPSILON, ENGINE, exported, make_divisible_toy, train_on_megatron
from tests.toy import ToyPaths

STEPS = 3
LEARNING_RATE = 1e-3
TOLERANCE = 1e-6
"""Of parameters after all steps. A clipped gradient is off by some 1e-8, as float32 sums of numbers below 1 are, and so
an update of Adam by at most lr · 1e-8 / ε = 1e-7."""

METRICS = {"nthr/eta/mean", "nthr/tau/mean", "nthr/tau/negative_fraction", "nthr/score/mean", "nthr/score/max"}

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_divisible_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.covers("Megatron: weights handed to vLLM", "Megatron: likelihood monitor")
@pytest.mark.parametrize(
    "cut",
    [
        pytest.param("tensor_model_parallel_size=2", marks=pytest.mark.covers("Megatron: training, TP 2")),
        pytest.param("pipeline_model_parallel_size=2", marks=pytest.mark.covers("Megatron: training, PP 2")),
        pytest.param("context_parallel_size=2", marks=pytest.mark.covers("Megatron: training, CP 2")),
    ],
)
def test_every_step_has_the_weights_and_the_update_of_one_process(toy: ToyPaths, tmp_path: Path, cut: str) -> None:
    settings = [*nthr(tmp_path), "+algorithm.lld_monitor.freq=1", f"{ENGINE}.{cut}"]
    steps = train_on_megatron(toy, tmp_path, settings, steps=STEPS)
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    replay, unweighted = (
        Replay(load_model(toy.model), tokenizer, lr=LEARNING_RATE, eps=ADAM_EPSILON, weighted=weighted)
        for weighted in (True, False)
    )
    for step, metrics in enumerate(steps, start=1):
        records = read_lines(tmp_path / f"{step}.jsonl")
        assert len(records) == 30
        before = load_model(toy.model if step == 1 else exported(tmp_path, step - 1))
        check_weights(records, before, tokenizer)
        check_advantages(records, [record["reward"] for record in records])
        check_metrics(records, metrics)
        assert all(math.isfinite(metrics[name]) for name in METRICS)
        assert metrics["training/rollout_probs_diff_max"] < 1e-6, "vLLM must have the engine's weights"
        assert metrics["actor/grad_norm"] == pytest.approx(replay.step(records), rel=1e-5)
        unweighted.step(records)
        after = load_model(exported(tmp_path, step))
        delta = log_likelihoods(after, tokenizer, records) - log_likelihoods(before, tokenizer, records)
        assert metrics["nthr/lld/delta_logp/mean"] == pytest.approx(float(delta.mean()), abs=1e-5)
    assert distance(after, replay.model) < TOLERANCE
    assert distance(after, unweighted.model) > 100 * TOLERANCE
    assert distance(after, load_model(toy.model)) > LEARNING_RATE


def log_likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, records: list[dict[str, Any]]
) -> Tensor:
    """[R] of the correct responses."""
    found = []
    for record in records:
        if record["correct"]:
            log_softmax = predictions(model, tokenizer, record)[1].double()
            found.append(log_softmax.gather(1, torch.tensor(record["token_ids"])[:, None]).sum())
    return torch.stack(found)


def distance(one: PreTrainedModel, other: PreTrainedModel) -> float:
    """The largest difference of a parameter."""
    parameters = dict(other.named_parameters())
    return max(float((value - parameters[name]).detach().abs().max()) for name, value in one.named_parameters())
