"""The demo's toy, trained a little further, as input of the probe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_nthr.demo import reward
from verl_nthr.demo.toy import Toy, write_data, write_model
from verl_nthr.demo.warm_up import greedy_accuracy
from verl_nthr.probe.toy_training import settle

PROMPTS = 1000
REWARD = f"{reward.__file__}:compute_score"


def prepare_toy(folder: Path, seed: int, report: Callable[[str], None]) -> Toy:
    """The toy in ``folder``, made if the folder does not exist.

    Args:
        folder: holds a whole toy or does not exist.
        seed: of the problems and the model.
        report: called with a line of text after each step of the work.

    Raises:
        InputError: the model did not learn the task.
    """
    if not folder.is_dir():
        partial = folder.with_name(folder.name + ".partial")
        if partial.exists():
            shutil.rmtree(partial)
        _make(partial, seed, report)
        partial.rename(folder)
    return Toy(folder / "model", folder / "train.parquet", folder / "unseen.parquet")


def _make(folder: Path, seed: int, report: Callable[[str], None]) -> None:
    toy, splits = write_data(folder, seed, PROMPTS)
    warmed = write_model(toy, splits, seed, lambda state: report(f"step {state.step}, accuracy {state.accuracy:.0%}"))
    model = AutoModelForCausalLM.from_pretrained(toy.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    excluded = {problem.unordered for problem in (*splits.unseen, *splits.held_out)}
    settle(model, tokenizer, splits.task, excluded, seed, lambda step: report(f"step {warmed.step} + {step}"))
    report(f"greedy accuracy {greedy_accuracy(model, tokenizer, splits.held_out, splits.task.max_response_tokens):.0%}")
    model.save_pretrained(toy.model)
