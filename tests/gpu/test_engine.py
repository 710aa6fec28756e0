"""verl's FSDP2 engine on a device: scores against Hugging Face and the double sums, and where tensors lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu.devices import BACKENDS, DEVICES
from tests.gpu.passes import cases, fused_backends, fused_cases, run_observed
from tests.integration.models import make_model
from tests.integration.passes import Case, make_rows
from tests.integration.references import (
    HALF_LOG_PROBS,
    HALF_SCORES,
    HALF_SCORES_OF_FLOAT32,
    check_log_probs,
    check_scores,
)
from tests.processes import run_ranks

FLOAT32_LOG_PROBS, FLOAT32_SCORES = 2e-4, 1e-4
"""Hugging Face runs on the CPU: a GPU sums in another order, and the models' logits reach 2⁵."""

ROWS = make_rows(0, vocab_size=70)


class Found(dict[str, Any]):
    """Results by name of the case; one that is an error is raised where it is looked up."""

    def __getitem__(self, name: str) -> Any:
        result = super().__getitem__(name)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Triton kernel of verl needs hidden states of a multiple of 128."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tied", tied=True, hidden=128)
    make_model(folder / "untied", tied=False)
    return folder


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def found(device: str, models: Path) -> Found:
    """By name of the case."""
    return observed(models, cases(device), device)


def observed(models: Path, chosen: Mapping[str, Case], device: str) -> Found:
    (results,) = run_ranks(
        run_observed, 1, str(models), ROWS, list(chosen.values()), timeout=240, backend=BACKENDS[device]
    )
    if isinstance(results, Exception):
        raise results
    return Found(zip(chosen, results, strict=True))


def check(answers: dict[str, Any], models: Path, case: Case) -> None:
    if case.dtype == "bf16":
        check_log_probs([answers], models, ROWS, case, HALF_LOG_PROBS, torch.bfloat16)
        check_scores([answers], models, ROWS, case, HALF_SCORES, torch.bfloat16)
        check_scores([answers], models, ROWS, case, HALF_SCORES_OF_FLOAT32)
    else:
        check_log_probs([answers], models, ROWS, case, FLOAT32_LOG_PROBS)
        check_scores([answers], models, ROWS, case, FLOAT32_SCORES)


@pytest.mark.parametrize("name", cases("cpu"))
def test_scores_are_those_of_hugging_face(found: Found, models: Path, device: str, name: str) -> None:
    check(found[name], models, cases(device)[name])


@pytest.mark.parametrize("name", cases("cpu"))
def test_a_pass_is_repeated_bit_for_bit(found: Found, name: str) -> None:
    assert found[name]["observed"]["repeated"]


def test_fused_kernels(models: Path, device: str) -> None:
    for backend in fused_backends(device):
        case = fused_cases(device)[backend]
        check(observed(models, {backend: case}, device)[backend], models, case)


def test_hidden_states_wait_where_they_are_told_to(found: Found, device: str) -> None:
    on_gpu = device == "cuda"
    assert found["kept on the host"]["observed"]["kept"] == [("cpu", on_gpu)]
    assert found["kept on the device"]["observed"]["kept"] == [(device, False)]
    assert found["float32"]["observed"]["kept"] == [(device, False)], "auto has room on the device for a few tokens"
    host, there = (found[f"kept on the {place}"]["scores"] for place in ("host", "device"))
    for ours, others in zip(host, there, strict=True):
        assert ours == pytest.approx(others, nan_ok=True)


def test_parameters_are_moved(found: Found, device: str) -> None:
    for name in ("offload", "offload policy"):
        places = found[name]["observed"]
        assert (places["before"], places["after"]) == (["cpu"], ["cpu"]), name
        assert set(places["at_work"]) == {device}, name
    assert found["float32"]["observed"]["before"] == [device]


def test_states_of_the_optimizer_are_moved_and_a_scored_pass_leaves_them(found: Found, device: str) -> None:
    assert found["offload"]["observed"]["states"] == {"during": [device], "after": ["cpu"], "after scoring": ["cpu"]}
