"""Deliberate mistakes in what an FSDP pass records, to see that the comparison with the reference notices them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.integration.fsdp import build_engine, rows_of
from tests.integration.joining import score
from tests.integration.passes import Case, Rows
from verl_nthr.influence.sharding import Sharding
from verl_nthr.integration import fsdp, recording, slots, worker

Mutation = Callable[[], AbstractContextManager[None]]


@contextmanager
def hidden_state_of_the_next_position() -> Iterator[None]:
    original = fsdp._MicroBatch.observe

    def observe(self: fsdp._MicroBatch, hidden: Tensor, *args: Any) -> None:
        original(self, hidden.roll(-1, dims=1), *args)

    with mock.patch.object(fsdp._MicroBatch, "observe", observe):
        yield


@contextmanager
def no_temperature_in_the_pass() -> Iterator[None]:
    original = slots.SlottedTokens.of_micro_batch

    def tokens(micro_batch: Any) -> slots.SlottedTokens:
        found = original(micro_batch)
        return dataclasses.replace(found, temperature=torch.ones_like(found.temperature))

    with mock.patch.object(slots.SlottedTokens, "of_micro_batch", tokens):
        yield


@contextmanager
def no_temperature_in_the_scores() -> Iterator[None]:
    original = worker.ScoringPass._temperature
    with mock.patch.object(worker.ScoringPass, "_temperature", lambda self: torch.ones_like(original(self))):
        yield


@contextmanager
def tokens_outside_the_mask_counted() -> Iterator[None]:
    original = slots.TokenSlots.of_batch

    def of_batch(responses: Tensor, response_mask: Tensor, response_of_row: Tensor) -> slots.TokenSlots:
        ones = torch.ones_like(response_mask.values())
        everything = torch.nested.nested_tensor_from_jagged(ones, response_mask.offsets())
        return original(responses, everything, response_of_row)

    with mock.patch.object(slots.TokenSlots, "of_batch", of_batch):
        yield


@contextmanager
def padding_at_the_end_of_rows_counted() -> Iterator[None]:
    """Places in a padded micro-batch as they are in a packed one."""
    original = fsdp.FSDPCapture._held_here

    def held_here(self: fsdp.FSDPCapture, *args: Any) -> fsdp._MicroBatch:
        tokens = original(self, *args).tokens
        return fsdp._MicroBatch(tokens, tokens.position)

    with mock.patch.object(fsdp.FSDPCapture, "_held_here", held_here):
        yield


@contextmanager
def appended_padding_forgotten() -> Iterator[None]:
    """The part of each rank taken as if verl had appended nothing."""
    original = fsdp.FSDPCapture._held_here

    def held_here(self: fsdp.FSDPCapture, micro_batch: Any, padding: int) -> fsdp._MicroBatch:
        return original(self, micro_batch, 0)

    with mock.patch.object(fsdp.FSDPCapture, "_held_here", held_here):
        yield


@contextmanager
def no_sum_over_the_ranks_of_a_sequence() -> Iterator[None]:
    """Every rank takes its own part of the sequences for the whole."""
    with mock.patch.object(Sharding, "sum_over_context"):
        yield


@contextmanager
def no_sum_over_the_ranks() -> Iterator[None]:
    """Every rank keeps its own M⁺."""
    original = worker.influence_scores

    def influence_scores(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        with mock.patch.object(Sharding, "sum_over_tokens"):
            return original(*args, **kwargs)

    with mock.patch.object(worker, "influence_scores", influence_scores):
        yield


@contextmanager
def sums_in_bfloat16() -> Iterator[None]:
    """Every rank rounds its M⁺."""
    original = Sharding.sum_over_tokens

    def sum_over_tokens(self: Sharding, *tensors: Tensor) -> None:
        for tensor in tensors:
            tensor.copy_(tensor.bfloat16())
        original(self, *tensors)

    with mock.patch.object(Sharding, "sum_over_tokens", sum_over_tokens):
        yield


def run_mutations(
    rank: int, models: str, rows: Rows, cases: list[tuple[Case, Sequence[Mutation]]]
) -> list[dict[str, dict[str, Any] | str | None]]:
    """By case and mutation, and for none: the answers without and with NTHR's own check of a pass, or its error."""
    os.environ["VERL_PLATFORM"] = "cpu"
    results = []
    for case, mutations in cases:
        engine = build_engine(models, case)
        mine = rows_of(engine, rows)

        def run(
            mutation: AbstractContextManager[None], engine: Any = engine, mine: list[int] = mine, case: Case = case
        ) -> dict[str, Any] | str | None:
            with mutation:
                try:
                    return score(engine, rows, mine, case)
                except (RuntimeError, IndexError) as error:
                    return str(error)

        answers = {"none": run(nullcontext())}
        for mutation in mutations:
            answers[f"checked {mutation.__name__}"] = run(mutation())
            with mock.patch.object(recording, "CHECKED_TOKENS", 0), mock.patch.object(fsdp, "check_output_layer"):
                answers[mutation.__name__] = run(mutation())
        results.append(answers)
    return results
