"""Deliberate mistakes in what a pass records, to see that the comparison with the reference notices them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.integration.passes import Rows, answers_of, make_data, request_of
from tests.megatron.passes import MegatronCase, build_engine, prepare_process, rows_of
from verl_nthr.influence.sharding import VocabularyShard
from verl_nthr.integration import megatron, recording, slots, worker


@contextmanager
def wrong_vocabulary_offset() -> Iterator[None]:
    """The second rank takes its rows for those of the entries one further on."""

    def shard(start: int, stop: int, group: Any) -> VocabularyShard:
        return VocabularyShard(start + 1 if start else start, stop, group)

    with mock.patch.object(megatron, "VocabularyShard", shard):
        yield


@contextmanager
def no_sequence_parallel_gather() -> Iterator[None]:
    """Every rank takes its own part of the sequence for the whole."""
    import megatron.core.tensor_parallel as tensor_parallel

    with mock.patch.object(tensor_parallel, "gather_from_sequence_parallel_region", lambda part: part.repeat(2, 1, 1)):
        yield


@contextmanager
def hidden_state_of_the_next_position() -> Iterator[None]:
    original = megatron.MegatronCapture._places

    def places(self: megatron.MegatronCapture, micro_batch: Any) -> Tensor:
        return original(self, micro_batch).roll(-1)

    with mock.patch.object(megatron.MegatronCapture, "_places", places):
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
        everything = torch.nested.nested_tensor_from_jagged(
            torch.ones_like(response_mask.values()), response_mask.offsets()
        )
        return original(responses, everything, response_of_row)

    with mock.patch.object(slots.TokenSlots, "of_batch", of_batch):
        yield


@contextmanager
def no_sum_over_the_vocabulary() -> Iterator[None]:
    """Each rank keeps the partial scores of the rows that it owns."""
    original = worker.influence_scores

    def scores(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        with mock.patch.object(worker.Sharding, "sum_over_vocabulary"):
            return original(*args, **kwargs)

    with mock.patch.object(worker, "influence_scores", scores):
        yield


MUTATIONS = (
    wrong_vocabulary_offset,
    no_sequence_parallel_gather,
    hidden_state_of_the_next_position,
    no_temperature_in_the_pass,
    no_temperature_in_the_scores,
    tokens_outside_the_mask_counted,
    no_sum_over_the_vocabulary,
)


def run_mutations(rank: int, models: str, rows: Rows, case: MegatronCase) -> dict[str, dict[str, Any] | str | None]:
    """By mutation, and for none: the columns of a pass without and with NTHR's own check of it, or the error."""
    prepare_process()
    engine = build_engine(f"{models}/{case.model}", case)
    mine = rows_of(engine, rows)

    def scored(mutation: AbstractContextManager[None]) -> dict[str, Any] | str | None:
        with mutation, engine.eval_mode():
            try:
                outputs = engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
            except (RuntimeError, IndexError) as error:
                return str(error)
        return answers_of(mine, outputs["model_output"]) if engine.is_mp_src_rank_with_outputs() else None

    answers = {}
    for mutation in MUTATIONS:
        answers[f"checked {mutation.__name__}"] = scored(mutation())
        with mock.patch.object(recording, "CHECKED_TOKENS", 0):
            answers[mutation.__name__] = scored(mutation())
    answers["none"] = scored(_nothing())
    return answers


@contextmanager
def _nothing() -> Iterator[None]:
    yield
