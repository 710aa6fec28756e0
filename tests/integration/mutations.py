"""Deliberate mistakes in what a pass records and sums, to see that the comparison with the reference notices them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.integration.joining import score
from tests.integration.passes import Case, Rows
from verl_nthr.influence.process_grid import ProcessGrid, Sum
from verl_nthr.integration.worker import scoring
from verl_nthr.integration.worker.fsdp import FSDPCapture
from verl_nthr.integration.worker.recorder import Recorder
from verl_nthr.integration.worker.token_slots import TokenSlots

Mutation = Callable[[], AbstractContextManager[None]]


@contextmanager
def hidden_state_of_the_next_position() -> Iterator[None]:
    original = Recorder.observe

    def observe(self: Recorder, hidden: Tensor, *args: Any) -> None:
        original(self, hidden.roll(-1, dims=0), *args)

    with mock.patch.object(Recorder, "observe", observe):
        yield


@contextmanager
def no_temperature() -> Iterator[None]:
    original = scoring.ScoringPass.temperature
    with mock.patch.object(scoring.ScoringPass, "temperature", lambda self: torch.ones_like(original(self))):
        yield


@contextmanager
def tokens_outside_the_mask_counted() -> Iterator[None]:
    original = TokenSlots.of_batch

    def of_batch(responses: Tensor, response_mask: Tensor, response_of_row: Tensor) -> TokenSlots:
        ones = torch.ones_like(response_mask.values())
        everything = torch.nested.nested_tensor_from_jagged(ones, response_mask.offsets())
        return original(responses, everything, response_of_row)

    with mock.patch.object(TokenSlots, "of_batch", of_batch):
        yield


@contextmanager
def next_token_taken_for_each() -> Iterator[None]:
    original = TokenSlots.of_batch

    def of_batch(*args: Tensor) -> TokenSlots:
        found = original(*args)
        return dataclasses.replace(found, token_ids=found.token_ids.roll(-1))

    with mock.patch.object(TokenSlots, "of_batch", of_batch):
        yield


@contextmanager
def padding_at_the_end_of_rows_counted() -> Iterator[None]:
    """Places in a padded micro-batch as they are in a packed one."""
    original = FSDPCapture.locate

    def locate(self: FSDPCapture, *args: Any, **kwargs: Any) -> Any:
        tokens, _ = original(self, *args, **kwargs)
        return tokens, tokens.position

    with mock.patch.object(FSDPCapture, "locate", locate):
        yield


@contextmanager
def appended_padding_forgotten() -> Iterator[None]:
    """The part of each rank taken as if verl had appended nothing."""
    original = FSDPCapture.locate

    def locate(self: FSDPCapture, micro_batch: Any, padding: int) -> Any:
        return original(self, micro_batch, 0)

    with mock.patch.object(FSDPCapture, "locate", locate):
        yield


@contextmanager
def no_sum_over_the_ranks_of_a_response() -> Iterator[None]:
    """Every rank takes its own part of the sequences for the whole."""
    with mock.patch.object(ProcessGrid, "sum_over_response"):
        yield


@contextmanager
def no_sum_over_the_ranks() -> Iterator[None]:
    """Every rank keeps its own M⁺."""

    def own(self: ProcessGrid, tensor: Tensor, dtype: torch.dtype | None = None) -> Sum:
        return Sum(tensor)

    with mock.patch.object(ProcessGrid, "start_sum_over_tokens", own):
        yield


@contextmanager
def sums_in_bfloat16() -> Iterator[None]:
    """Every rank rounds its M⁺."""
    original = ProcessGrid.start_sum_over_tokens

    def start_sum_over_tokens(self: ProcessGrid, tensor: Tensor, dtype: torch.dtype | None = None) -> Sum:
        return original(self, tensor, torch.bfloat16)

    with mock.patch.object(ProcessGrid, "start_sum_over_tokens", start_sum_over_tokens):
        yield


@contextmanager
def unchecked() -> Iterator[None]:
    """A pass does not check itself."""
    with (
        mock.patch.object(scoring, "check_coverage"),
        mock.patch.object(scoring, "check_logits"),
        mock.patch.object(scoring, "check_log_probs"),
    ):
        yield


def run_with(
    mutations: tuple[Mutation, ...], engine: Any, rows: Rows, mine: list[int], case: Case
) -> dict[str, dict[str, Any] | str | None]:
    """By mutation, and for none: the answers without and with NTHR's own checks of a pass, or the error."""

    def run(*contexts: AbstractContextManager[None]) -> dict[str, Any] | str | None:
        with contexts[0], contexts[-1]:
            try:
                return score(engine, rows, mine, case)
            except (RuntimeError, IndexError) as error:
                return str(error)

    answers = {"none": run(nullcontext())}
    for mutation in mutations:
        answers[f"checked {mutation.__name__}"] = run(mutation(), nullcontext())
        answers[mutation.__name__] = run(mutation(), unchecked())
    return answers
