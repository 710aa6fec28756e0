"""The model as the probe uses it: log-probabilities of response tokens, with the features that NTHR takes.

Axes: R responses of a prompt, L tokens of the longest response, T response tokens of all responses, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from verl_nthr.errors import InputError
from verl_nthr.probe.groups import Group


@dataclass(frozen=True)
class Rows:
    """Some responses to one prompt, padded on the right."""

    input_ids: Tensor
    """[R, P + L], prompt and response."""

    attention_mask: Tensor
    """[R, P + L]."""

    mask: Tensor
    """[R, L] bool, response tokens."""

    @classmethod
    def from_group(cls, group: Group, rows: list[int], device: torch.device) -> Rows:
        """The responses ``rows`` of ``group``."""
        prompt = len(group.prompt)
        longest = max(len(response) for response in group.responses)
        input_ids = torch.zeros(len(rows), prompt + longest, dtype=torch.int64)
        lengths = torch.tensor([len(group.responses[row]) for row in rows])
        for position, row in enumerate(rows):
            sequence = group.prompt + group.responses[row]
            input_ids[position, : len(sequence)] = torch.tensor(sequence)
        attended = torch.arange(prompt + longest) < prompt + lengths[:, None]
        mask = torch.arange(longest) < lengths[:, None]
        return cls(input_ids.to(device), attended.long().to(device), mask.to(device))

    @property
    def labels(self) -> Tensor:
        """[R, L], the response tokens."""
        return self.input_ids[:, -self.mask.shape[1] :]


@dataclass(frozen=True)
class TokenRecord:
    """Log-probability, entropy and hidden state of each response token, response by response."""

    log_probs: Tensor
    """[T] float32."""

    entropy: Tensor
    """[T] float32."""

    hidden: Tensor
    """[T, D], the input of the LM head."""


class Policy:
    """A causal language model whose every parameter is trained, at the sampling temperature."""

    def __init__(self, model: PreTrainedModel, temperature: float, tokens_per_forward: int) -> None:
        """Take ``model`` over: evaluation mode, gradients on.

        Args:
            model: any Hugging Face causal language model.
            temperature: logits are divided by it, as verl does.
            tokens_per_forward: at most so many tokens (padding included) in one pass, but at least one response.

        Raises:
            InputError: the model has no LM head.
        """
        layer = model.get_output_embeddings()
        if layer is None or not isinstance(getattr(layer, "weight", None), Tensor):
            raise InputError(f"{type(model).__name__} has no LM head; MODEL has to be a causal language model")
        self.model = model.eval().requires_grad_(True)
        self.lm_head: nn.Module = layer
        self.temperature = temperature
        self.parameters: list[nn.Parameter] = list(model.parameters())
        self._tokens_per_forward = tokens_per_forward

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self.lm_head.weight.device

    def pieces(self, group: Group, rows: list[int]) -> Iterator[tuple[list[int], Rows]]:
        """``rows`` of ``group``, as many at a time as fit in one pass."""
        longest = len(group.prompt) + max(len(response) for response in group.responses)
        size = max(1, self._tokens_per_forward // longest)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, Rows.from_group(group, part, self.device)

    def logits(self, rows: Rows) -> Tensor:
        """[R, L, V] in float32, divided by the temperature."""
        return self.scaled_logits(self.model(**self.inputs(rows)).logits, rows)

    def inputs(self, rows: Rows) -> dict[str, object]:
        """Arguments of the model's forward."""
        return {"input_ids": rows.input_ids, "attention_mask": rows.attention_mask, "use_cache": False}

    def scaled_logits(self, logits: Tensor, rows: Rows) -> Tensor:
        """The part of the model's logits [R, P + L, V] that predicts responses, as :meth:`logits` gives it."""
        return logits[:, -rows.mask.shape[1] - 1 : -1].float() / self.temperature

    def log_probs(self, rows: Rows) -> Tensor:
        """[R, L] float32, 0 at padding; gradients flow."""
        return label_log_probs(self.logits(rows), rows)

    @torch.no_grad()
    def log_likelihood(self, group: Group, rows: list[int]) -> Tensor:
        """[len(rows)] float64: ln π(y|x) of whole responses."""
        return torch.cat([self.log_probs(piece).double().sum(-1) for _, piece in self.pieces(group, rows)])

    @torch.no_grad()
    def record(self, group: Group) -> TokenRecord:
        """Pass over all responses.

        Raises:
            InputError: logits are not hidden state × LM head (a cap, a scale, a shared head).
        """
        log_probs, entropy, hidden = [], [], []
        for _, rows in self.pieces(group, list(range(len(group.responses)))):
            captured: list[Tensor] = []
            hook = self.lm_head.register_forward_pre_hook(lambda _, args, seen=captured: seen.append(args[0]))
            try:
                output = self.model(**self.inputs(rows)).logits
            finally:
                hook.remove()
            self._check_logits(captured, output)
            scaled = self.scaled_logits(output, rows)
            log_probs.append(label_log_probs(scaled, rows)[rows.mask])
            log_pi = scaled.log_softmax(-1)
            entropy.append(-(log_pi.exp() * log_pi).sum(-1)[rows.mask])
            hidden.append(captured[0][:, -rows.mask.shape[1] - 1 : -1][rows.mask])
        return TokenRecord(torch.cat(log_probs), torch.cat(entropy), torch.cat(hidden))

    def _check_logits(self, captured: list[Tensor], logits: Tensor) -> None:
        if len(captured) != 1 or captured[0].shape[:2] != logits.shape[:2]:
            raise InputError("the model does not pass its hidden states once through its LM head")
        bias = getattr(self.lm_head, "bias", None)
        expected = nn.functional.linear(captured[0][:1, -1:], self.lm_head.weight, bias)
        if not torch.allclose(expected.float(), logits[:1, -1:].float(), rtol=1e-2, atol=1e-2):
            raise InputError("the model's logits are not hidden state × LM head (a cap or scale follows)")


def label_log_probs(logits: Tensor, rows: Rows) -> Tensor:
    """[R, L]: log softmax of ``logits`` [R, L, V] at the response tokens, 0 at padding."""
    chosen = logits.gather(-1, rows.labels[..., None])[..., 0]
    return (chosen - logits.logsumexp(-1)).masked_fill(~rows.mask, 0.0)
