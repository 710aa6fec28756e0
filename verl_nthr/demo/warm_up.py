"""Supervised training of the toy until some of its responses are correct: room for reinforcement learning."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from verl_nthr.demo.arithmetic import Addition, Task, draw_additions, final_number
from verl_nthr.errors import InputError

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

IGNORED = -100
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
RISE_STEPS = 50
COARSE_STEPS, FINE_STEPS = 25, 5
FINE_FROM = 0.05
MAX_STEPS = 1500


@dataclass(frozen=True)
class Progress:
    """State after an evaluation."""

    step: int
    """Optimizer steps taken, those undone included."""

    loss: float
    """Cross-entropy of the last batch."""

    accuracy: float
    """Greedy, on the held-out additions."""


def warm_up(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    task: Task,
    held_out: list[Addition],
    excluded: set[tuple[int, int]],
    seed: int,
    report: Callable[[Progress], None],
) -> Progress:
    """Train ``model`` in place until its greedy accuracy lies in the task's band.

    When an evaluation overshoots, the steps since the one before are undone and done again at half the learning rate.

    Args:
        model: trained in place; left in evaluation mode.
        tokenizer: of the model.
        task: what it learns.
        held_out: additions that the accuracy is measured on.
        excluded: unordered operands that are not trained on.
        seed: of the additions drawn.
        report: called after each evaluation.

    Returns:
        The last evaluation.

    Raises:
        InputError: the band was not reached within :data:`MAX_STEPS` steps.
    """
    with _one_thread():
        return _warm_up(model, tokenizer, task, held_out, excluded, random.Random(f"warm-up {seed}"), report)


def _warm_up(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    task: Task,
    held_out: list[Addition],
    excluded: set[tuple[int, int]],
    rng: random.Random,
    report: Callable[[Progress], None],
) -> Progress:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    lower, upper = task.accuracy_band
    step, scale = 0, 1.0
    progress = Progress(0, float("nan"), 0.0)
    before = _snapshot(model, optimizer)
    while step < MAX_STEPS:
        model.train()
        for _ in range(FINE_STEPS if progress.accuracy >= FINE_FROM else COARSE_STEPS):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * scale * min(1.0, step / RISE_STEPS)
            loss = _train_step(model, tokenizer, optimizer, draw_additions(rng, task, BATCH_SIZE, excluded))
        accuracy = greedy_accuracy(model, tokenizer, held_out, task.max_response_tokens)
        report(Progress(step, loss, accuracy))
        if lower <= accuracy <= upper:
            return Progress(step, loss, accuracy)
        if accuracy > upper:
            scale /= 2
            _restore(model, optimizer, before)
        else:
            progress, before = Progress(step, loss, accuracy), _snapshot(model, optimizer)
    raise InputError(
        f"after {step} warm-up steps the greedy accuracy is {progress.accuracy:.2f}, wanted {lower} to {upper}; "
        "try another --seed"
    )


@torch.inference_mode()
def greedy_accuracy(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, additions: list[Addition], max_response_tokens: int
) -> float:
    """Fraction of ``additions`` whose greedy response ends with the correct answer; all prompts have one length."""
    model.eval()
    prompts = torch.tensor([encode_prompt(tokenizer, addition) for addition in additions])
    sequences = model.generate(
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=max_response_tokens,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    responses = tokenizer.batch_decode(sequences[:, prompts.shape[1] :], skip_special_tokens=True)
    correct = [
        final_number(response) == addition.total for response, addition in zip(responses, additions, strict=True)
    ]
    return sum(correct) / len(correct)


def encode_prompt(tokenizer: Qwen2Tokenizer, addition: Addition) -> list[int]:
    """Token ids of the prompt in the chat template, up to where the response begins."""
    message = {"role": "user", "content": addition.prompt}
    return tokenizer.encode(tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The same sums on every machine, whatever its cores; a model this small gains little from a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train_step(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, optimizer: torch.optim.Optimizer, additions: list[Addition]
) -> float:
    """One step on the responses' tokens; returns the mean cross-entropy."""
    loss = model(**supervised_batch(tokenizer, additions)).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def supervised_batch(tokenizer: Qwen2Tokenizer, additions: list[Addition]) -> dict[str, torch.Tensor]:
    """The model's arguments for worked solutions, with labels on the responses only."""
    tokens, labels = [], []
    for addition in additions:
        prompt = encode_prompt(tokenizer, addition)
        response = [*tokenizer.encode(addition.worked_solution), tokenizer.eos_token_id]
        tokens.append(torch.tensor(prompt + response))
        labels.append(torch.tensor([IGNORED] * len(prompt) + response))
    pad = torch.nn.utils.rnn.pad_sequence
    input_ids = pad(tokens, batch_first=True, padding_value=tokenizer.pad_token_id)
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids != tokenizer.pad_token_id).long(),
        "labels": pad(labels, batch_first=True, padding_value=IGNORED),
    }


def _snapshot(model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    return copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())


def _restore(
    model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer, state: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    model.load_state_dict(state[0])
    optimizer.load_state_dict(copy.deepcopy(state[1]))
