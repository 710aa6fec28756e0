"""The scripts themselves, as small as they go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"date", "command", "arguments", "device", "threads", "versions"}


def run_script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def result_of(name: str, path: Path, *arguments: object) -> dict[str, Any]:
    done = run_script(name, *arguments, "--json", path)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert set(result) >= ENVIRONMENT
    assert set(result["versions"]) >= {"torch", "verl", "transformers", "python"}
    assert result["date"][:10] in done.stdout
    return result


def test_the_overhead(tmp_path: Path) -> None:
    arguments = ("--shape", "tiny", "--response", "24", "--prompt", "16", "--rounds", "2", "--max-token-len", "128")
    result = result_of("bench_overhead.py", tmp_path / "overhead.json", *arguments, "--feature-device", "host")
    assert result["arguments"]["shape"] == "tiny"
    assert result["arguments"]["dtype"] == "float32"
    for name in ("ratio_nthr", "ratio_extra_forward", "peak_memory_ratio"):
        assert result[name] > 0
    for way in ("plain", "nthr", "extra_forward"):
        assert len(result["seconds"][way]["all"]) == 2
        assert result["peak_memory"][way] > result["weights_memory"] > 0
    ranges = result["profile"]
    at_work = {f"nthr.{name}" for name in ("vocabulary", "capture", "direction", "scores")}
    assert set(ranges) == at_work | {"nthr.reduction"}  # one process has nothing to reduce
    assert all(ranges[name]["calls"] > 0 for name in at_work)
    assert result["driver_seconds"]["median"] > 0
    assert result["worker_seconds"]["median"] > 0
    assert result["largest_difference_of_scores"] < 1e-4


def test_the_scaling(tmp_path: Path) -> None:
    result = result_of("bench_scaling.py", tmp_path / "scaling.json", "--quick", "--rounds", "1")
    assert [(sweep["name"].split(",")[0], sweep["varied"]) for sweep in result["sweeps"]] == [
        *(("scoring", name) for name in ("groups", "rollouts", "response", "entries", "hidden")),
        ("recording", "response"),
    ]
    for sweep in result["sweeps"]:
        assert len(sweep["points"]) == 3
        assert {"exponent", "exponent_error"} <= set(sweep)
    assert [found["ranks"] for found in result["ranks"]] == [1, 2]
    assert result["ranks"][1]["summed_bytes"] > 0


def test_the_accuracy(tmp_path: Path) -> None:
    result = result_of("bench_accuracy.py", tmp_path / "accuracy.json", "--quick")
    found = {
        tuple(row[name] for name in ("model", "vocabulary", "products", "log_z")): row for row in result["choices"]
    }
    assert len(found) == 2 * 3 * (2 + 3)
    for (model, _, products, _), row in found.items():
        assert ("to_float32_model" in row) == (model == "bfloat16")
        if (model, products) == ("float32", "float32"):
            assert row["max_error"] < 1e-5
    assert 0 < result["selected_by_reference"] < 1


def test_the_libraries(tmp_path: Path) -> None:
    result = result_of("bench_libraries.py", tmp_path / "libraries.json", "--quick", "--rounds", "1")
    assert len(result["parts"]) == 4
    for found in result["parts"].values():
        assert all(values["min"] > 0 for values in found.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rollouts", "1"), "--rollouts 1: a mixed group has at least 2"),
        (("--shape", "tiny", "--response", "1000"), "--response 1000 make 1032 tokens, but tiny has 1024 positions"),
        (("--max-token-len", "100"), "--max-token-len 100 is below the 160 tokens"),
        pytest.param(
            ("--device", "cuda"),
            "--device cuda: torch sees no CUDA device; use --device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    done = run_script("bench_overhead.py", *arguments, "--json", path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not path.exists()


@pytest.mark.parametrize("name", ["bench_overhead.py", "bench_scaling.py", "bench_accuracy.py", "bench_libraries.py"])
def test_an_option_that_is_not_there_is_refused(name: str) -> None:
    done = run_script(name, "--json", "x", "--gruops", "2")
    assert done.returncode == 2
    assert "--gruops" in done.stderr
