"""An untrained toy, and results of runs made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verl_nthr.demo.toy_model import make_model, make_tokenizer


def save_untrained_toy(folder: Path) -> Path:
    """A model and a tokenizer as the warm-up writes them."""
    tokenizer = make_tokenizer()
    make_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def result(method: str, seed: int, greedy: list[float], share_negative: list[float | None]) -> dict[str, Any]:
    """A run with a step for each entry of ``share_negative``; None stands for a step without correct responses."""
    steps = [
        {"eased_fraction": 0.1}
        | ({} if share is None else {"lld/share_negative": share, "lld/delta_logp/mean": 1.0 - share})
        for share in share_negative
    ]
    return {
        "settings": {"task": "demo", "method": method, "seed": seed, "steps": len(steps)},
        "seconds": 10.0,
        "greedy": [[step, accuracy] for step, accuracy in enumerate(greedy)],
        "pass_at_k": [0.5, 0.5 + seed / 10],
        "steps": steps,
    }
