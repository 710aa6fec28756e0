"""NTHR in a pass neither stalls the host nor needs much memory."""

from __future__ import annotations

import pytest

from tests.gpu.devices import BACKENDS, DEVICES
from tests.gpu.measuring import run_measured
from tests.processes import run_ranks

FEW = 8
"""Waits of a micro-batch: which of its tokens have a slot, and how many, is known on the device alone."""


@pytest.mark.parametrize("device", DEVICES)
def test_a_micro_batch_adds_few_waits_and_the_pass_little_memory(device: str) -> None:
    (found,) = run_ranks(run_measured, 1, device, timeout=240, backend=BACKENDS[device])
    if isinstance(found, Exception):
        raise found
    more, fewer = found["micro_batches"]
    assert more > fewer
    assert found["waits"] <= FEW
    assert found["memory"] <= 1.1
