"""Where hidden states are kept, and that they are brought back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.integration.recording import check_output_layer, store_device

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


def test_only_finite_logits_have_to_be_those_of_the_output_layer() -> None:
    rows, ids = OutputRows(torch.tensor([[1.0, 0.0], [0.0, 2.0]])), torch.tensor([1, 1, 0])
    hidden = torch.tensor([[0.0, torch.inf], [0.0, torch.nan], [3.0, 0.0]])
    check_output_layer(rows, hidden, ids, torch.tensor([[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), ids)
    check_output_layer(rows, hidden.nan_to_num(0.0, 0.0), ids, torch.tensor([[0.0, torch.nan]] * 2 + [[3.0, 0.0]]), ids)
    with pytest.raises(RuntimeError, match="not its last hidden states times its output layer"):
        check_output_layer(rows, hidden, ids, torch.tensor([[0.0, 1.0], [0.0, 1.0], [4.0, 0.0]]), ids)
