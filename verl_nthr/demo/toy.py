"""Writes the demo's task and model to a folder, as verl reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verl_nthr.demo.arithmetic import THREE_DIGITS, Addition, Splits, Task, draw_splits
from verl_nthr.demo.toy_model import make_model, make_tokenizer
from verl_nthr.demo.warm_up import Progress, warm_up

DATA_SOURCE = "worked_addition"
UNSEEN, HELD_OUT = 200, 300


@dataclass(frozen=True)
class Toy:
    """Paths of what was written."""

    model: Path
    """Model and tokenizer, as ``from_pretrained`` reads them."""

    train: Path
    """Prompts to train on (parquet)."""

    unseen: Path
    """Prompts of verl's validation (parquet)."""


def write_data(folder: Path, seed: int, train_prompts: int, task: Task = THREE_DIGITS) -> tuple[Toy, Splits]:
    """Draw the additions and write the parquet files into ``folder``, which is made if it does not exist."""
    toy = Toy(folder / "model", folder / "train.parquet", folder / "unseen.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    splits = draw_splits(task, seed, UNSEEN, HELD_OUT, train_prompts)
    _write(toy.train, "train", splits.train)
    _write(toy.unseen, "unseen", splits.unseen)
    return toy, splits


def write_model(toy: Toy, splits: Splits, seed: int, report: Callable[[Progress], None]) -> Progress:
    """Make the model, warm it up and write it with its tokenizer; no unseen addition is trained on.

    Raises:
        InputError: the accuracy wanted was not reached.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, seed)
    excluded = {addition.unordered for addition in (*splits.unseen, *splits.held_out)}
    progress = warm_up(model, tokenizer, splits.task, splits.held_out, excluded, seed, report)
    model.save_pretrained(toy.model)
    tokenizer.save_pretrained(toy.model)
    return progress


def verl_row(addition: Addition, split: str, index: int) -> dict[str, object]:
    """A row of verl's data format."""
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": addition.prompt}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": addition.total},
        "extra_info": {"split": split, "index": index},
    }


def _write(path: Path, split: str, additions: list[Addition]) -> None:
    import pandas as pd

    pd.DataFrame([verl_row(addition, split, index) for index, addition in enumerate(additions)]).to_parquet(path)
