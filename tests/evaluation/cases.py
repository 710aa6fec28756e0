"""A model that answers by heart: responses and benchmarks whose accuracies are known by counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from verl_nthr.evaluation.summary import Group


def write_benchmark(path: Path, prompts: int, data_source: str = "toy") -> Path:
    """A parquet file in verl's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "data_source": data_source,
            "prompt": [{"role": "user", "content": f"{index}+{index}=?"}],
            "reward_model": {"style": "rule", "ground_truth": str(2 * index)},
        }
        for index in range(prompts)
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


def groups(correct: list[int], samples: int = 1) -> list[Group]:
    """A group for each entry: the first ``correct[i]`` of its responses are correct, all have 5 tokens."""
    return [
        Group(responses=["…"] * samples, tokens=[5] * samples, rewards=[1.0] * hits + [0.0] * (samples - hits))
        for hits in correct
    ]


def document(models: list[tuple[str, int | None, list[int], list[int]]], samples: int = 4) -> dict[str, Any]:
    """The document of models with name, step, correct greedy responses to 30 and 40 prompts, and as samples."""
    from verl_nthr.evaluation.settings import Settings
    from verl_nthr.evaluation.summary import summarise

    settings = Settings(samples=samples)
    sizes = {"aime24": 30, "amc23": 40}
    found = []
    for name, step, greedy, sampled in models:
        of_benchmarks = {
            benchmark: {
                "greedy": groups([1] * correct + [0] * (size - correct)),
                "sampled": groups([samples // 2] * hit + [0] * (size - hit), samples),
            }
            for (benchmark, size), correct, hit in zip(sizes.items(), greedy, sampled, strict=True)
        }
        found.append({"name": name, "path": f"models/{name}", "step": step, **summarise(of_benchmarks, settings)})
    return {
        "schema": 2,
        "settings": vars(settings),
        "benchmarks": [
            {"name": name, "title": title, "path": f"{name}.parquet", "sha256": "", "prompts": sizes[name]}
            for name, title in (("aime24", "AIME24"), ("amc23", "AMC23"))
        ],
        "models": found,
    }
