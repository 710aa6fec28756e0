"""Scores and selections under each numeric choice, and their distance to the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.responses import Responses
from benchmarks.rounding import products_in
from verl_nthr import NTHRResult, nthr_weights_reference
from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import select_tokens, thresholds
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

TEMPERATURE = 1.0
LOG_Z = {
    "verl's logit": "logit/T − log π, with the logit as the model rounded it: what the plugin does",
    "own logit": "logit/T − log π, with the logit taken anew in float32: what nthr_weights does",
    "logsumexp": "over the whole vocabulary, of logits taken anew",
}


@dataclass(frozen=True)
class Choice:
    """How scores are computed."""

    model: str
    """Dtype of hidden states, output layer and the pass's logits: float32 or bfloat16."""

    vocabulary: str
    """"response" or "full"."""

    products: str
    """Precision of matrix products, a key of :data:`benchmarks.rounding.MANTISSA_BITS`."""

    log_z: str
    """A key of :data:`LOG_Z`."""


@dataclass(frozen=True)
class Decision:
    """Scores [T] and which tokens are selected [T]."""

    scores: Tensor
    selected: Tensor


def reference(responses: Responses, vocabulary: str) -> NTHRResult:
    """The double sums in float64, on the host."""
    return nthr_weights_reference(
        responses.hidden,
        responses.token_ids,
        responses.response,
        responses.group,
        responses.correct,
        responses.unembedding,
        temperature=TEMPERATURE,
        vocabulary=vocabulary,
    )


@torch.no_grad()
def decide(responses: Responses, choice: Choice, device: torch.device) -> Decision:
    """Scores and selection (β = 1) by the product's functions, of ``responses`` in the dtype of the choice's model."""
    hidden, weight = responses.hidden.to(device), responses.unembedding.to(device)
    token_ids, response = responses.token_ids.to(device), responses.response.to(device)
    group_R, correct = responses.group.to(device), responses.correct.to(device)
    group, num_groups = group_R[response], int(responses.group.max()) + 1
    logits = F.linear(hidden, weight)
    with products_in(choice.products, device):
        log_probs, log_normalizer = _distributions(hidden, weight, logits, token_ids, choice.log_z)
        features = TokenFeatures(
            hidden, token_ids, log_probs, log_normalizer, torch.full_like(log_probs, TEMPERATURE), response, group
        )
        if choice.vocabulary == "full":
            entries = GroupVocabulary.whole(num_groups, len(weight), device)
        else:
            keys = vocabulary_keys(group, token_ids, len(weight))
            entries = GroupVocabulary.from_keys(keys, num_groups, len(weight))
        scores, anchors, _ = influence_scores(features, OutputRows(weight), entries, group_R, correct, Sharding())
    threshold = thresholds(anchors, group_R, num_groups, beta=1.0)
    mixed = torch.ones(num_groups, dtype=torch.bool, device=device)
    return Decision(scores.cpu(), select_tokens(scores, group, correct[response], threshold, mixed).cpu())


def _distributions(
    hidden: Tensor, weight: Tensor, logits: Tensor, token_ids: Tensor, log_z: str
) -> tuple[Tensor, Tensor]:
    """log π and log Z [T] in float32."""
    if log_z == "logsumexp":
        logits = F.linear(hidden.float(), weight.float())
    logits = logits.float() / TEMPERATURE
    label_logits = logits.gather(1, token_ids[:, None])[:, 0]
    log_sums = torch.logsumexp(logits, dim=-1)
    log_probs = label_logits - log_sums
    if log_z == "logsumexp":
        return log_probs, log_sums
    if log_z == "own logit":
        label_logits = torch.linalg.vecdot(hidden.float(), weight[token_ids].float()) / TEMPERATURE
    return log_probs, label_logits - log_probs


class Distance:
    """Errors over any number of batches, as parts of the largest score of each token's group."""

    def __init__(self) -> None:
        self._errors: list[Tensor] = []
        self._changed: list[Tensor] = []

    def add(self, found: Decision, expected: NTHRResult, responses: Responses) -> None:
        """Compare one batch."""
        group = responses.group[responses.response]
        largest = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
        largest.scatter_reduce_(0, group, expected.scores.abs(), "amax")
        self._errors.append((found.scores.double() - expected.scores).abs() / largest[group])
        wrong = ~responses.correct[responses.response]
        self._changed.append((found.selected != expected.selected)[wrong])

    def summary(self) -> dict[str, float]:
        """``max_error`` and ``rms_error`` over all tokens, ``changed_selections`` of the tokens of wrong answers."""
        errors, changed = torch.cat(self._errors), torch.cat(self._changed)
        return {
            "max_error": float(errors.max()),
            "rms_error": float(errors.square().mean().sqrt()),
            "changed_selections": float(changed.double().mean()),
        }
