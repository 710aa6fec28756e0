"""Deliberate mistakes in how Megatron's ranks share tokens and gather the LM head's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch.distributed as dist
from torch import Tensor

from tests.integration.mutations import (
    Mutation,
    hidden_state_of_the_next_position,
    next_token_taken_for_each,
    no_sum_over_the_ranks,
    no_temperature,
    run_with,
    tokens_outside_the_mask_counted,
)
from tests.integration.passes import Rows
from tests.megatron.passes import MegatronCase, build_engine, case, prepare_process, rows_of
from verl_nthr.integration.worker.megatron import MegatronCapture
from verl_nthr.integration.worker.recorder import Recorder


@contextmanager
def rows_of_other_entries() -> Iterator[None]:
    """The second rank takes its LM head rows for those of the entries one further on."""
    original = MegatronCapture.first_entry

    def first_entry(self: MegatronCapture) -> int:
        first = original(self)
        return first + 1 if first else first

    with mock.patch.object(MegatronCapture, "first_entry", first_entry):
        yield


@contextmanager
def one_row_forgotten() -> Iterator[None]:
    """The last rank does not write the last LM head row that it owns."""
    original = MegatronCapture.lm_head_rows

    def lm_head_rows(self: MegatronCapture, entries: Tensor | None) -> tuple[Tensor, None]:
        rows, bias = original(self, entries)
        if dist.get_rank() == dist.get_world_size() - 1:
            rows[rows.any(1).nonzero()[-1]] = 0
        return rows, bias

    with mock.patch.object(MegatronCapture, "lm_head_rows", lm_head_rows):
        yield


@contextmanager
def token_slice_forgotten() -> Iterator[None]:
    """The last rank leaves out the second half of its tokens."""
    original = Recorder.observe

    def observe(self: Recorder, hidden: Tensor, own: Tensor | None = None, place: Tensor | None = None) -> None:
        if own is not None and dist.get_rank() == dist.get_world_size() - 1:
            half = len(own) // 2
            own, place = own[:half], None if place is None else place[:half]
        original(self, hidden, own, place)

    with mock.patch.object(Recorder, "observe", observe):
        yield


@contextmanager
def layout_of_the_other_context_rank() -> Iterator[None]:
    """Each of two ranks takes its states for those of the tokens that the other one holds."""
    from megatron.core import parallel_state

    original, own = MegatronCapture.places, parallel_state.get_context_parallel_rank

    def places(self: MegatronCapture, micro_batch: Any) -> Tensor:
        with mock.patch.object(parallel_state, "get_context_parallel_rank", return_value=1 - own()):
            return original(self, micro_batch)

    with mock.patch.object(MegatronCapture, "places", places):
        yield


ANYWHERE = (
    hidden_state_of_the_next_position,
    next_token_taken_for_each,
    no_temperature,
    tokens_outside_the_mask_counted,
    no_sum_over_the_ranks,
)
TENSOR_PARALLEL = (rows_of_other_entries, one_row_forgotten, token_slice_forgotten)
MUTATIONS: dict[str, tuple[MegatronCase, tuple[Mutation, ...]]] = {
    "sequence parallel": (case(tensor=2, sequence_parallel=True), (*ANYWHERE, *TENSOR_PARALLEL)),
    "tensor parallel": (case(tensor=2), TENSOR_PARALLEL),
    "fused": (case(tensor=2, sequence_parallel=True, fused=True), (*ANYWHERE, *TENSOR_PARALLEL)),
    "context": (case(context=2), (*ANYWHERE, layout_of_the_other_context_rank)),
}
"""By path of the hidden states: a cut over two ranks, and the mistakes that can be made there."""


def run_mutations(rank: int, models: str, rows: Rows, path: str) -> dict[str, Any]:
    """By mutation, what the pass gives."""
    prepare_process()
    cut, tried = MUTATIONS[path]
    engine = build_engine(f"{models}/{cut.model}", cut)
    return run_with(tried, engine, rows, rows_of(engine, rows), cut)
