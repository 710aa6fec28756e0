"""A model that answers by heart: responses and benchmarks whose accuracies are known by counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from verl_nthr.evaluation.records import Answer


def write_benchmark(path: Path, questions: int, data_source: str = "toy") -> Path:
    """A parquet file in verl's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "data_source": data_source,
            "prompt": [{"role": "user", "content": f"{index}+{index}=?"}],
            "reward_model": {"style": "rule", "ground_truth": str(2 * index)},
        }
        for index in range(questions)
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


def answers(correct: list[int], samples: int = 1) -> list[Answer]:
    """Answers to as many questions, the first ``correct[i]`` of each question's samples right; all of 5 tokens."""
    return [
        Answer(responses=["…"] * samples, tokens=[5] * samples, rewards=[1.0] * right + [0.0] * (samples - right))
        for right in correct
    ]


def document(models: list[tuple[str, int | None, list[int], list[int]]], samples: int = 4) -> dict[str, Any]:
    """The document of models with name, step, correct greedy answers of 30 and 40 questions, and as samples."""
    from verl_nthr.evaluation.settings import Settings
    from verl_nthr.evaluation.summary import summarise

    settings = Settings(samples=samples)
    sizes = {"aime24": 30, "amc23": 40}
    found = []
    for name, step, greedy, sampled in models:
        of_benchmarks = {
            benchmark: {
                "greedy": answers([1] * right + [0] * (size - right)),
                "sampled": answers([samples // 2] * hit + [0] * (size - hit), samples),
            }
            for (benchmark, size), right, hit in zip(sizes.items(), greedy, sampled, strict=True)
        }
        found.append({"name": name, "path": f"models/{name}", "step": step, **summarise(of_benchmarks, settings)})
    return {
        "schema": 1,
        "settings": vars(settings),
        "benchmarks": [
            {"name": name, "title": title, "path": f"{name}.parquet", "sha256": "", "questions": sizes[name]}
            for name, title in (("aime24", "AIME24"), ("amc23", "AMC23"))
        ],
        "models": found,
    }
