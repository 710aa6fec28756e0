"""GWHES against the double sums of Eq. 5, and the overlap of rankings."""

from __future__ import annotations

import math

import pytest
import torch

from verl_nthr.probe.gwhes import gwhes
from verl_nthr.probe.statistics import top_k_overlap


@pytest.mark.parametrize("vocabulary", ["response", "full"])
@pytest.mark.parametrize("correct", [[True, False, True, False, False], [False, False, False, True, False]])
def test_equals_the_double_sums(vocabulary: str, correct: list[bool]) -> None:
    torch.manual_seed(0)
    lengths, vocab_size, dim, temperature = [3, 4, 2, 5, 1], 11, 6, 0.7
    response = torch.repeat_interleave(torch.arange(5), torch.tensor(lengths))
    hidden, unembedding = torch.randn(len(response), dim), torch.randn(vocab_size, dim)
    bias = torch.randn(vocab_size)
    token_ids = torch.randint(0, 8, (len(response),))
    found = gwhes(
        hidden,
        token_ids,
        None,
        response,
        torch.tensor(correct),
        unembedding,
        bias=bias,
        temperature=temperature,
        vocabulary=vocabulary,
    )

    columns = sorted(set(token_ids.tolist())) if vocabulary == "response" else list(range(vocab_size))
    logits = (hidden.double() @ unembedding.double().T + bias.double()) / temperature
    errors = torch.nn.functional.one_hot(token_ids, vocab_size).double() - torch.softmax(logits, -1)

    def pair(first: int, second: int) -> float:
        alpha = sum(float(errors[first, v] * errors[second, v]) for v in columns)
        return alpha * sum(float(a * b) for a, b in zip(hidden[first].double(), hidden[second].double(), strict=True))

    p = sum(correct) / len(correct)
    for i, is_correct in enumerate(correct):
        if not is_correct:
            assert math.isnan(found[i])
            continue
        expected = 0.0
        for k in (response == i).nonzero()[:, 0].tolist():
            for other in range(len(response)):
                if correct[response[other]]:
                    expected -= (1 - p) / math.sqrt(p * (1 - p)) * pair(k, other)
                else:
                    expected += p / math.sqrt(p * (1 - p)) * pair(k, other)
        assert float(found[i]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_overlap_of_largest_gwhes_with_smallest_delta() -> None:
    assert top_k_overlap([3.0, 2.0, 1.0, 0.0], [-3.0, -2.0, -1.0, 0.0], 2) == 1.0
    assert top_k_overlap([3.0, 2.0, 1.0, 0.0], [0.0, -1.0, -2.0, -3.0], 2) == 0.0
    assert top_k_overlap([3.0, 1.0, 2.0, 0.0], [-3.0, -2.0, -1.0, 0.0], 2) == 0.5
    assert top_k_overlap([1.0], [1.0], 2) is None
