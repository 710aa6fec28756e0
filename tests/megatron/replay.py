"""The updates of a run once more, from its token dumps: one process, Hugging Face, autograd and torch's AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.integration.runs import TEMPERATURE


class Replay:
    """GRPO's updates with weighted advantages, one a step, with verl's default settings of the optimizer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        lr: float,
        eps: float,
        weighted: bool = True,
    ) -> None:
        """Start from ``model``, which is trained in place; without ``weighted`` all weights are 1."""
        self.model, self.tokenizer, self.weighted = model, tokenizer, weighted
        # Megatron trains the padding token's embedding, too
        model.get_input_embeddings().padding_idx = None
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=eps)

    def step(self, records: Sequence[dict[str, Any]]) -> float:
        """One update on the responses of a step; returns the norm of the gradient before it is clipped to 1."""
        tokens = sum(sum(record["mask"]) for record in records)
        for record in records:
            prompt = self.tokenizer(record["prompt"], add_special_tokens=False).input_ids
            logits = self.model(torch.tensor([prompt + record["token_ids"]])).logits[0, len(prompt) - 1 : -1]
            log_probs = torch.log_softmax(logits / TEMPERATURE, dim=-1)
            log_probs = log_probs.gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
            weights = torch.tensor(record["weights"]) if self.weighted else torch.ones(len(log_probs))
            weights = weights * torch.tensor(record["mask"])
            # on policy the ratio is 1, and its gradient that of the log-prob
            loss = -record["advantage"] * (weights * log_probs).sum() / tokens
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)
