"""One training run in this process: transformers samples, verl's functions give advantage and loss.

It does what verl's synchronous trainer does with the demo's settings (one update a batch, token mean, AdamW), without
Ray, vLLM and FSDP, so that many seeds are affordable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, Qwen2ForCausalLM

from verl_nthr.comparison.batch import Batch, forward, sample
from verl_nthr.comparison.methods import token_advantages
from verl_nthr.comparison.settings import TASKS, Settings
from verl_nthr.demo.arithmetic import Splits
from verl_nthr.demo.warm_up import greedy_accuracy
from verl_nthr.influence.selection import success_rates
from verl_nthr.integration.driver.lld_monitor import displacement_metrics
from verl_nthr.integration.functions import policy_loss

BETAS, WEIGHT_DECAY, CLIP_GRAD = (0.9, 0.999), 0.01, 1.0
"""verl's defaults (``actor_rollout_ref.actor.optim``)."""


class Run:
    """A model on its way."""

    def __init__(self, settings: Settings, model_path: Path, splits: Splits) -> None:
        """Load the warmed-up model of ``model_path``."""
        self.settings, self.splits = settings, splits
        self.tokenizer = AutoTokenizer.from_pretrained(model_path)
        self.model = Qwen2ForCausalLM.from_pretrained(model_path, dtype=torch.float32)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
        )
        self.max_response_tokens = TASKS[settings.task].max_response_tokens

    def train(self) -> dict[str, Any]:
        """All steps.

        Returns:
            ``greedy`` as pairs of step and accuracy, ``pass_at_k`` before and after, and a list of ``steps``.
        """
        settings = self.settings
        greedy, before = [(0, self.greedy_accuracy())], self.pass_at_k(step=0)
        steps = []
        for step in range(1, settings.steps + 1):
            steps.append(self.step(step))
            if step % settings.evaluate_every == 0 or step == settings.steps:
                greedy.append((step, self.greedy_accuracy()))
        return {"greedy": greedy, "pass_at_k": [before, self.pass_at_k(settings.steps)], "steps": steps}

    def step(self, step: int) -> dict[str, float]:
        """Sample, update, and measure how the update moved the batch's correct responses."""
        settings = self.settings
        additions = self.splits.train[(step - 1) * settings.prompts : step * settings.prompts]
        batch = self._sample(additions, settings.responses, step)
        record = forward(self.model, batch)
        old_log_probs = record.log_probs.detach()
        unembedding = self.model.lm_head.weight.detach()
        advantages, eased = token_advantages(settings.method, batch, record, unembedding, self._seed(step))
        self.optimizer.zero_grad()
        policy_loss(record.log_probs, old_log_probs, advantages, batch.mask).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_GRAD)
        self.optimizer.step()
        return {
            "accuracy": float(batch.correct.float().mean()),
            "entropy": float(record.entropy[batch.mask].mean()),
            "response_tokens": float(batch.mask.sum(1).float().mean()),
            "eased_fraction": _eased_fraction(batch, eased),
            **self._displacement(batch, old_log_probs),
        }

    def greedy_accuracy(self) -> float:
        """On the unseen prompts."""
        return greedy_accuracy(self.model, self.tokenizer, self.splits.unseen, self.max_response_tokens)

    def pass_at_k(self, step: int) -> float:
        """Share of the unseen prompts that one of k sampled responses solves."""
        k = self.settings.pass_k
        return float(self._sample(self.splits.unseen, k, step=-1 - step).correct.view(-1, k).any(1).float().mean())

    def _sample(self, additions: list[Any], responses: int, step: int) -> Batch:
        return sample(self.model, self.tokenizer, additions, responses, self.max_response_tokens, self._seed(step))

    def _seed(self, step: int) -> int:
        return (self.settings.seed * 1_000_003 + step) % 2**32

    @torch.no_grad()
    def _displacement(self, batch: Batch, old_log_probs: Tensor) -> dict[str, float]:
        if not batch.correct.any():
            return {}
        new = forward(self.model, batch.rows(batch.correct)).log_probs
        metrics = displacement_metrics((new - old_log_probs[batch.correct]).sum(1), epsilon=0.0)
        return {name.removeprefix("nthr/"): value for name, value in metrics.items()}


def _eased_fraction(batch: Batch, eased: Tensor) -> float:
    """Of the tokens of wrong responses in mixed groups."""
    rate = success_rates(batch.group, batch.correct, int(batch.group.max()) + 1)[batch.group]
    mixed = (rate > 0) & (rate < 1)
    candidates = batch.mask & (mixed & ~batch.correct)[:, None]
    return float((eased & candidates).sum() / candidates.sum()) if candidates.any() else 0.0
