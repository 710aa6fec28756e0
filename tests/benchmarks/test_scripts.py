"""The scripts as small as they go, and what they compute on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import bench_accuracy
import bench_overhead
import bench_scaling
import soak
from bench_accuracy import MODELS, PEAKS, Choice, Responses, decide, distance, draw_responses, reference, summary
from soak import state_of, trend
from verl_nthr import NTHRResult

ROOT = Path(__file__).parents[2]


ENVIRONMENT = {"date", "command", "arguments", "device", "threads", "versions"}

BOTH_ENGINES = """
import sys
import bench_overhead, soak
for main, *arguments in (
    (bench_overhead.main, *"--shape tiny --response 24 --prompt 16 --rounds 2 --max-token-len 128".split(),
     *"--feature-device host --json overhead.json".split()),
    (soak.main, *"--steps 4 --dump-every 2 --json soak.json".split()),
):
    sys.argv = ["script", *arguments]
    main()
"""


def run_here(main: Callable[[], int], *arguments: object) -> int:
    """Run a script's ``main`` in this process."""
    with mock.patch.object(sys, "argv", ["script", *map(str, arguments)]):
        return main()


def result_of(path: Path) -> dict[str, Any]:
    result = json.loads(path.read_text())
    assert set(result) >= ENVIRONMENT
    return result


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the scripts that need an engine and verl's CPU platform, and so a process of their own."""
    folder = tmp_path_factory.mktemp("results")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"}
    command = [sys.executable, "-c", BOTH_ENGINES]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert len(list(folder.glob("*.json"))) == 2, done.stderr
    return folder


@pytest.mark.slow
def test_the_overhead(results: Path) -> None:
    result = result_of(results / "overhead.json")
    for way in ("plain", "nthr", "extra_forward"):
        assert len(result["seconds"][way]["all"]) == 2
        assert result["peak_memory"][way] > result["weights_memory"] > 0
    assert result["worker_seconds"]["median"] > 0
    assert result["driver_seconds"]["median"] > 0
    assert result["profile"]
    assert result["largest_difference_of_scores"] < 1e-4


@pytest.mark.slow
def test_a_few_steps_leave_nothing_behind(results: Path) -> None:
    result = result_of(results / "soak.json")
    assert len(result["states"]) == 4
    # resident memory is still settling
    assert set(result["grew"]) <= {"rss"}


@pytest.mark.slow
def test_the_scaling(tmp_path: Path) -> None:
    assert run_here(bench_scaling.main, "--quick", "--rounds", 1, "--json", tmp_path / "scaling.json") == 0
    result = result_of(tmp_path / "scaling.json")
    varied = ["groups", "rollouts", "response", "entries", "hidden"]
    assert [(sweep["varied"], len(sweep["points"])) for sweep in result["sweeps"]] == [(name, 3) for name in varied]
    assert [(found["ranks"], found["all_reduce"] > 0) for found in result["ranks"]] == [(1, False), (2, True)]


def test_the_accuracy(tmp_path: Path) -> None:
    assert run_here(bench_accuracy.main, "--quick", "--json", tmp_path / "accuracy.json") == 0
    result = result_of(tmp_path / "accuracy.json")
    assert len(result["choices"]) == 2 * 3 * (2 + 4) + 4
    exact = [row["max_error"] for row in result["choices"] if (row["model"], row["products"]) == ("float32", "float32")]
    assert max(exact) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hundred_steps_are_flat(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "soak.py", "--steps", "500", "--json", tmp_path / "soak.json"]
    subprocess.run(command, timeout=3500, check=False)
    assert result_of(tmp_path / "soak.json")["grew"] == []


def test_growth_is_told_from_noise() -> None:
    # residuals −1/2, 1, −1/2 around 1.5, 2, 2.5: their squares add up to 3/2, those of the steps around their mean to 2
    by_hand = trend([1.0, 3.0, 2.0], 0.0)
    assert (by_hand["slope"], by_hand["error"]) == pytest.approx((0.5, (1.5 / 1 / 2) ** 0.5))
    noise = 1e6 * torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leak = 16384 * torch.arange(400, dtype=torch.float64)
    found = [trend((7e8 + values).tolist(), 8192)["grows"] for values in (noise, noise + leak, -leak, 0.4 * leak)]
    assert found == [False, True, False, False]
    assert [trend(counts, 0.05)["grows"] for counts in ([3] * 8, [*range(8)])] == [False, True]


def test_what_is_left_behind_is_counted(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    before, kept = state_of(model, tmp_path), []
    model.register_forward_hook(lambda *_: None)
    kept.append(torch.ones(3))
    (tmp_path / "left").touch()
    after = state_of(model, tmp_path)
    counted = ("hooks", "tensors", "temporary_files")
    assert {name: after[name] - before[name] for name in counted} == dict.fromkeys(counted, 1)


def errors(responses: Responses, *choice: str) -> float:
    found = decide(responses, Choice(*choice), "cpu")
    return summary([distance(*found, reference(responses, choice[1]), responses)])["max_error"]


@pytest.mark.parametrize("vocabulary", ["response", "full"])
def test_fewer_bits_of_products_or_of_the_model_are_further_from_the_reference(vocabulary: str) -> None:
    responses = draw_responses(0, PEAKS, groups=2, rollouts=4, response=6, hidden=16, vocabulary=64)
    for log_z in ("verl's logit", "own logit", "logsumexp"):
        float32, tf32, bf16 = (errors(responses, "float32", vocabulary, p, log_z) for p in ("float32", "tf32", "bf16"))
        assert float32 < 1e-5 < tf32 < bf16 < 0.1, log_z
    half = responses.rounded(MODELS["bfloat16"])
    assert errors(half, "bfloat16", vocabulary, "float32", "recomputed") < 1e-5
    assert 1e-4 < errors(half, "bfloat16", vocabulary, "float32", "verl's logit") < 0.1


def test_errors_are_parts_of_the_groups_largest_score() -> None:
    places, nothing = torch.arange(4), torch.zeros(0)
    correct = torch.tensor([True, False, True, False])
    responses = Responses(nothing, nothing, places, torch.tensor([0, 0, 1, 1]), correct, nothing)
    scores = torch.tensor([10.0, -20.0, 1.0, 2.0], dtype=torch.float64)
    expected = NTHRResult(**{field: nothing for field in NTHRResult.__dataclass_fields__})
    vars(expected).update(scores=scores, selected=torch.tensor([False, True, False, False]))
    found = torch.tensor([12.0, -20.0, 1.0, 2.2]), torch.tensor([True, True, False, True])
    assert summary([distance(*found, expected, responses)]) == pytest.approx(
        {"max_error": 0.1, "rms_error": (2 * 0.1**2 / 4) ** 0.5, "changed_selections": 0.5, "changed_at_beta_0": 0.0},
        rel=1e-5,
    )


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [
        (bench_overhead, "--rollouts 1", "--rollouts 1"),
        (bench_overhead, "--shape tiny --response 1000", "1032 tokens, above the 1024"),
        (bench_overhead, "--max-token-len 100", "160 tokens, above the 100"),
        (soak, "--steps 2", "--steps 2"),
    ]
    if not torch.cuda.is_available():
        refused.append((bench_accuracy, "--device cuda", "--device cuda"))
    for script, options, fact in refused:
        assert run_here(script.main, *options.split(), "--json", tmp_path / "result.json") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert fact in line
    assert not list(tmp_path.iterdir())
