"""The demo's toy as input of the probe, trained further until most of its responses are correct.

Lazy displacement shows in models most of whose responses are correct.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM, Qwen2Tokenizer

from verl_nthr.demo import reward
from verl_nthr.demo.arithmetic import Task, draw_additions
from verl_nthr.demo.toy import Toy, write_data, write_model
from verl_nthr.demo.warm_up import BATCH_SIZE, greedy_accuracy, supervised_batch

PROMPTS = 1000
STEPS = 60
LEARNING_RATE = 1e-3
REWARD = f"{reward.__file__}:compute_score"


def prepare_toy(folder: Path, seed: int, report: Callable[[str], None]) -> Toy:
    """The toy in ``folder``, made if the folder does not exist.

    Args:
        folder: holds a whole toy or does not exist.
        seed: of the additions and the model.
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
    excluded = {addition.unordered for addition in (*splits.unseen, *splits.held_out)}
    _settle(model, tokenizer, splits.task, excluded, seed, lambda step: report(f"step {warmed.step} + {step}"))
    report(f"greedy accuracy {greedy_accuracy(model, tokenizer, splits.held_out, splits.task.max_response_tokens):.0%}")
    model.save_pretrained(toy.model)


def _settle(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    task: Task,
    excluded: set[tuple[int, int]],
    seed: int,
    report: Callable[[int], None],
) -> None:
    """Train the warmed-up ``model`` in place, :data:`STEPS` steps with a learning rate that falls to zero.

    Args:
        model: left in evaluation mode.
        tokenizer: of the model.
        task: what it learns.
        excluded: unordered operands that are not trained on.
        seed: of the additions drawn.
        report: called with the number of steps done.
    """
    rng = random.Random(f"settle {seed}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=STEPS)
    model.train()
    for step in range(1, STEPS + 1):
        additions = draw_additions(rng, task, BATCH_SIZE, excluded)
        optimizer.zero_grad()
        model(**supervised_batch(tokenizer, additions)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step)
    model.eval()
