"""Where hidden states are kept, and that they are brought back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.integration.worker.hidden_store import store_device
from verl_nthr.integration.worker.verification import check_coverage, check_log_probs, check_logits

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("option", "size", "expected"),
    [("device", 10**12, GPU), ("host", 1, CPU), ("auto", 100, GPU), ("auto", 101, CPU)],
)
def test_auto_takes_a_tenth_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, option: str, size: int, expected: torch.device
) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda _: SimpleNamespace(mem_get_info=lambda _: (1000, 5000)))
    assert store_device(option, size, GPU) == expected


@pytest.mark.parametrize("option", ["device", "host", "auto"])
def test_a_cpu_is_its_own_host(option: str) -> None:
    assert store_device(option, 10**15, CPU) == CPU


def test_hidden_states_come_back_in_float32() -> None:
    hidden = torch.arange(6.0, dtype=torch.bfloat16).view(3, 2)
    numbers, whole = torch.zeros(3), torch.zeros(3, dtype=torch.int64)
    features = TokenFeatures(hidden, whole, numbers, numbers, numbers + 1, whole, whole)
    found = features.hidden_of(torch.tensor([2, 0]))
    assert found.dtype == torch.float32
    assert found.tolist() == [[4.0, 5.0], [0.0, 1.0]]


def features_of(hidden: torch.Tensor, token_ids: torch.Tensor, log_normalizer: torch.Tensor) -> TokenFeatures:
    zeros = torch.zeros(len(token_ids))
    return TokenFeatures(hidden, token_ids, zeros, log_normalizer, zeros + 1, zeros.long(), zeros.long())


def test_a_finite_logit_must_be_hidden_state_times_lm_head() -> None:
    rows, ids = LMHeadRows(torch.tensor([[1.0, 0.0], [0.0, 2.0]])), torch.tensor([1, 1, 0])
    hidden = torch.tensor([[0.0, torch.inf], [0.0, torch.nan], [3.0, 0.0]])
    sound = torch.tensor([1.0, 1.0, 3.0])
    check_logits(features_of(hidden, ids, sound), rows, sound, torch.float32)
    nothing = features_of(hidden.nan_to_num(0.0, 0.0), ids, sound)
    check_logits(nothing, rows, torch.tensor([torch.nan, torch.inf, 3.0]), torch.float32)
    for capped, dtype in ((2.9, torch.float32), (2.0, torch.bfloat16)):
        with pytest.raises(RuntimeError, match=r"3.*cap or scale"):
            check_logits(features_of(hidden, ids, sound), rows, torch.tensor([1.0, 1.0, capped]), dtype)


def test_probabilities_must_add_up_to_one() -> None:
    features = features_of(torch.zeros(3, 2), torch.zeros(3).long(), torch.tensor([2.0, torch.inf, 5.0]))
    check_log_probs(features, torch.tensor([0, 1]), torch.tensor([2.0, 3.0]), torch.float32)
    check_log_probs(features, torch.tensor([2]), torch.tensor([5.3]), torch.bfloat16)
    with pytest.raises(RuntimeError, match="add up to"):
        check_log_probs(features, torch.tensor([0, 2]), torch.tensor([2.0, 5.3]), torch.float32)


def test_every_token_is_recorded_once() -> None:
    check_coverage(torch.ones(3))
    with pytest.raises(RuntimeError, match=r"of 4 .* 1 unrecorded .* 2 more"):
        check_coverage(torch.tensor([1.0, 0.0, 2.0, 3.0]))
