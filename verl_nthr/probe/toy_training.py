"""More supervised training for the toy: lazy displacement shows in models that are right most of the time."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from verl_nthr.demo.arithmetic import Task, draw_problems
from verl_nthr.demo.warm_up import BATCH_SIZE, supervised_batch

STEPS = 60
LEARNING_RATE = 1e-3


def settle(
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
        seed: of the problems drawn.
        report: called with the number of steps done.
    """
    rng = random.Random(f"settle {seed}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=STEPS)
    model.train()
    for step in range(1, STEPS + 1):
        problems = draw_problems(rng, task, BATCH_SIZE, excluded)
        optimizer.zero_grad()
        model(**supervised_batch(tokenizer, problems)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step)
    model.eval()
