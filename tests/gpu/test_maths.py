"""The maths on a device against the double sums in float64."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from benchmarks.rounding import products_in
from tests.gpu.devices import DEVICES
from tests.influence.batches import Batch, largest_error, random_batch
from verl_nthr import nthr_weights, nthr_weights_reference

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2**-10, torch.float16: 2**-10}
"""Of the largest score. TF32 keeps hidden states and output rows of half precision as they are; of a score's factors it
rounds the two prediction errors and M⁺, by up to 2⁻¹¹ each, or 2⁻¹⁰ where a chip cuts digits off, and most of that
cancels in the sums: with rounded operands on the CPU 2e-4 is left. Products in bfloat16 leave 1e-3 and more."""


def moved(batch: Batch, device: str) -> Batch:
    """The same batch on a device."""
    found = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: x.to(device) for name, x in found.items() if isinstance(x, Tensor)})


@pytest.mark.parametrize("anchor_includes_self", [True, False])
@pytest.mark.parametrize("vocabulary", ["response", "full"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_scores_are_the_double_sums(
    device: str, dtype: torch.dtype, vocabulary: str, anchor_includes_self: bool
) -> None:
    batch = random_batch(3, group_sizes=(6, 4, 5), longest=24, dim=64, vocab_size=96, dtype=dtype, padding_rows=1)
    choices = {"vocabulary": vocabulary, "anchor_includes_self": anchor_includes_self, "beta": 0.03}
    expected = nthr_weights_reference(**batch.reference_arguments(), **choices)
    # the chip's products of half precision are in TF32 by themselves
    emulated = products_in("tf32", "cpu") if (device, dtype.itemsize) == ("cpu", 2) else nullcontext()
    with emulated:
        found = nthr_weights(**moved(batch, device).arguments(None), **choices)
    assert found.scores.device.type == device
    assert largest_error(found.scores.cpu(), expected.scores) < TOLERANCES[dtype]
    held = expected.anchors.isfinite()
    assert largest_error(found.anchors.cpu()[held], expected.anchors[held]) < TOLERANCES[dtype]
    clear = (expected.scores - expected.threshold[batch.group[batch.response]]).abs() > 2 * TOLERANCES[dtype] * float(
        expected.scores.abs().max()
    )
    assert torch.equal(found.selected.cpu()[clear], expected.selected[clear])
    assert 0 < int(expected.selected[clear].sum()) < int(clear.sum())
