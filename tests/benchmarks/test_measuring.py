"""Timing, fits, memory, collectives and rounding of the benchmarks, against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from bench_scaling import Size, make_input
from benchmarks.engine import SHAPES
from benchmarks.measuring import counted_collectives, highest_allocation, interleaved, power_law, profiled
from benchmarks.report import BenchmarkError
from benchmarks.rounding import products_in, rounded
from benchmarks.step import make_batch
from verl_nthr import nthr_weights


def test_actions_run_in_turns() -> None:
    calls: list[str] = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ABC"}, 2, "cpu")
    assert calls == list("ABCABC")
    assert {name: len(values) for name, values in seconds.items()} == {"A": 2, "B": 2, "C": 2}


def test_a_power_law_and_its_error() -> None:
    # log sizes −1, 0, 1 and log costs 0, 0, 1: slope 1/2, residuals 1/6, −1/3, 1/6, error √(1/6 / 1 / 2)
    assert power_law([math.exp(-1), 1.0, math.e], [1.0, 1.0, math.e]) == pytest.approx((0.5, math.sqrt(1 / 12)))


def memory_event(time: float, count: int, device: int = 0) -> dict[str, object]:
    return {"name": "[memory]", "ts": time, "args": {"Bytes": count, "Device Type": device, "Ev Idx": int(time)}}


def test_the_highest_allocation_follows_the_order_of_time() -> None:
    by_time = [(4, 10, 0), (1, 100, 0), (3, -100, 0), (2, 50, 0), (2.5, 1000, 1)]
    events = [{"name": "aten::mm", "ts": 0}, *(memory_event(*each) for each in by_time)]
    assert highest_allocation(events) == 150


def test_the_peak_memory_and_the_ranges_of_a_run() -> None:
    def action() -> None:
        first = torch.ones(1000, 1000)
        with torch.profiler.record_function("nthr.something"):
            second = first + 1
        del first
        second.mul_(2)

    peak, ranges = profiled(action, "cpu")
    assert peak == pytest.approx(8_000_000, abs=1000)
    assert {name: found["calls"] for name, found in ranges.items()} == {"nthr.something": 1}
    assert ranges["nthr.something"]["host_seconds"] > 0


def test_the_bytes_given_to_collectives_are_counted_and_the_collectives_run(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    gathered = [torch.zeros(3, dtype=torch.int64)]
    try:
        with counted_collectives() as traffic:
            dist.all_reduce(torch.ones(10))
            dist.all_gather(gathered, torch.full((3,), 7))
        dist.all_reduce(torch.zeros(1000))
    finally:
        dist.destroy_process_group()
    assert dict(traffic) == {"all_reduce": 40, "all_gather": 24}
    assert gathered[0].tolist() == [7, 7, 7]


def test_shapes_have_the_parameters_of_the_released_models() -> None:
    found = {}
    for name, shape in SHAPES.items():
        with torch.device("meta"):
            found[name] = AutoModelForCausalLM.from_config(shape.config()).num_parameters()
    found.pop("tiny")
    assert found == {
        "qwen2.5-0.5b": 494_032_768,
        "qwen2.5-1.5b": 1_543_714_304,
        "qwen2.5-3b": 3_085_938_688,
        "qwen2.5-7b": 7_615_616_512,
    }


def test_a_batch_is_ragged_and_every_group_mixed() -> None:
    batch = make_batch(groups=3, rollouts=4, response=16, prompt=8, vocabulary=100)
    rows = sorted(zip(batch.group, batch.correct, strict=True))
    assert rows == [(group, correct) for group in range(3) for correct in (False, False, True, True)]
    lengths = [len(response) for response in batch.responses]
    assert 4 <= min(lengths) < max(lengths) <= 16
    assert batch.tokens == sum(lengths) + sum(map(len, batch.prompts))
    entries = [torch.cat([r for r, g in zip(batch.responses, batch.group, strict=True) if g == x]) for x in range(3)]
    assert batch.entries_per_group() == pytest.approx(sum(len(ids.unique()) for ids in entries) / 3)


@pytest.mark.parametrize("vocabulary", ["response", "full"])
def test_features_are_scored_as_by_the_public_function(vocabulary: str) -> None:
    found = make_input(Size(groups=2, rollouts=4, response=5, entries=7, hidden=6), "cpu")
    # log π and log Z of the features' own logits
    logits = found.hidden @ found.unembedding.T
    names = ("hidden", "token_ids", "response", "group", "correct", "unembedding")
    arguments = {name: getattr(found, name) for name in names}
    log_normalizer = logits.logsumexp(1)
    log_probs = logits.gather(1, found.token_ids[:, None])[:, 0] - log_normalizer
    scoring = type(found)(**arguments, log_probs=log_probs, log_normalizer=log_normalizer)
    expected = nthr_weights(**arguments, log_probs=None, vocabulary=vocabulary)
    scores, anchors = scoring.scores(vocabulary)
    torch.testing.assert_close(scores, expected.scores, rtol=1e-4, atol=1e-4)
    assert torch.equal(scoring.selected(scores, anchors), expected.selected)


def test_operands_are_rounded_as_bfloat16_and_tf32_keep_them() -> None:
    values = torch.randn(100, 100, generator=torch.Generator().manual_seed(0)) * 1e3
    ties = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0.0, 65536.0])
    for tensor in (values, ties, values.T):
        assert torch.equal(rounded(tensor, 7), tensor.bfloat16().float())
    values = torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-12, 1 + 2**-11 + 2**-20])
    assert torch.equal(rounded(values, 10), torch.tensor([1 + 2**-10, 1.0, 1 + 2**-9, -1.0, 1 + 2**-10]))


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_products_are_of_rounded_operands_and_float32_results(precision: str) -> None:
    rng = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(2, 5, 5, generator=rng) for _ in range(3))
    exact = torch.bmm(*(rounded(x, {"tf32": 10, "bf16": 7}[precision]).double() for x in (a, b)))
    in_place = c.clone()
    with products_in(precision, "cpu"):
        found = {
            "bmm": (a @ b, exact),
            "mm": (torch.nn.functional.linear(a[1], b[1].T), exact[1]),
            "addmm": (torch.addmm(c[0], a[0], b[0], beta=2, alpha=3), 2 * c[0] + 3 * exact[0]),
            "baddbmm": (torch.baddbmm(c, a, b, beta=2, alpha=3), 2 * c + 3 * exact),
            "in place": (in_place.baddbmm_(a, b), c + exact),
        }
    for name, (product, expected) in found.items():
        assert float((product.double() - expected).abs().max()) < 6e-6, name
    assert not torch.allclose(found["bmm"][0], a @ b, rtol=0, atol=1e-5)
    with pytest.raises(BenchmarkError, match="bf16"), products_in("bf16", "cpu"):
        torch.ones(3).sum()
