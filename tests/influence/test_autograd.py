"""The score of a token is the inner product of two gradients of the unembedding (up to the temperature)."""

from __future__ import annotations

import pytest
import torch

from tests.influence.batches import Batch, largest_error, random_batch
from verl_nthr import nthr_weights, thr_weights


def gradient_inner_products(
    batch: Batch, columns_of_group: dict[int, list[int]], length_normalised: bool
) -> torch.Tensor:
    """T² · ⟨∇_W Σ_i w_i log π(y_i⁺), ∇_W log π(y_t)⟩ with the inner product taken over rows ``columns_of_group`` of W.

    w_i is 1, or 1/|y_i| if ``length_normalised``.
    """
    weight = batch.unembedding.double().requires_grad_()
    temperature = batch.temperature_of_tokens()
    log_probs = torch.log_softmax(batch.hidden.double() @ weight.T / temperature[:, None], dim=-1)
    log_probs = log_probs.gather(1, batch.token_ids[:, None])[:, 0]
    lengths = torch.bincount(batch.response, minlength=len(batch.group))[batch.response]
    objective = log_probs / lengths if length_normalised else log_probs
    scores = torch.zeros_like(log_probs)
    for group, columns in columns_of_group.items():
        in_group = batch.group[batch.response] == group
        positive = in_group & batch.correct[batch.response]
        (towards,) = torch.autograd.grad(objective[positive].sum(), weight, retain_graph=True)
        for t in in_group.nonzero()[:, 0]:
            (of_token,) = torch.autograd.grad(log_probs[t], weight, retain_graph=True)
            scores[t] = (towards[columns] * of_token[columns]).sum() * temperature[t] ** 2
    return scores.detach()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("vocabulary", ["full", "response"])
def test_scores_are_inner_products_of_unembedding_gradients(seed: int, vocabulary: str) -> None:
    batch = random_batch(seed, group_sizes=(4, 5), longest=6, dim=9, vocab_size=19)
    columns = {}
    for group in range(2):
        in_group = batch.group[batch.response] == group
        everything = range(19) if vocabulary == "full" else set(batch.token_ids[in_group].tolist())
        columns[group] = sorted(everything)
    for_nthr = gradient_inner_products(batch, columns, length_normalised=False)
    for_thr = gradient_inner_products(batch, columns, length_normalised=True)
    for_thr = torch.where(batch.correct[batch.response], for_thr, -for_thr)
    for function, expected in ((nthr_weights, for_nthr), (thr_weights, for_thr)):
        assert expected.abs().max() > 0
        scores = function(**batch.arguments(None), vocabulary=vocabulary).scores
        assert largest_error(scores, expected) <= 1e-5
