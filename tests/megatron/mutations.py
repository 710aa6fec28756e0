"""Deliberate mistakes in what a pass records, to see that the comparison with the reference notices them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

from torch import Tensor

from tests.integration.mutations import (
    no_temperature_in_the_pass,
    no_temperature_in_the_scores,
    tokens_outside_the_mask_counted,
)
from tests.integration.passes import Rows, answers_of, make_data, request_of
from tests.megatron.passes import MegatronCase, build_engine, case, prepare_process, rows_of
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
def logit_of_the_next_token() -> Iterator[None]:
    original = slots.SlottedTokens.of_micro_batch

    def tokens(micro_batch: Any) -> slots.SlottedTokens:
        found = original(micro_batch)
        return dataclasses.replace(found, token_ids=found.token_ids.roll(-1))

    with mock.patch.object(slots.SlottedTokens, "of_micro_batch", tokens):
        yield


@contextmanager
def error_of_the_next_token() -> Iterator[None]:
    """The pass is right, but the scores take each token for the one that follows it."""
    original = slots.TokenSlots.of_batch

    def of_batch(*args: Tensor) -> slots.TokenSlots:
        found = original(*args)
        return dataclasses.replace(found, token_ids=found.token_ids.roll(-1))

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


@contextmanager
def layout_of_the_other_context_rank() -> Iterator[None]:
    """Each of two ranks takes its states for those of the tokens that the other one holds."""
    from megatron.core import parallel_state

    original, own = megatron.MegatronCapture._places, parallel_state.get_context_parallel_rank

    def places(self: megatron.MegatronCapture, micro_batch: Any) -> Tensor:
        with mock.patch.object(parallel_state, "get_context_parallel_rank", return_value=1 - own()):
            return original(self, micro_batch)

    with mock.patch.object(megatron.MegatronCapture, "_places", places):
        yield


ANYWHERE = (
    hidden_state_of_the_next_position,
    logit_of_the_next_token,
    error_of_the_next_token,
    no_temperature_in_the_pass,
    no_temperature_in_the_scores,
    tokens_outside_the_mask_counted,
)
MUTATIONS: dict[str, tuple[MegatronCase, tuple[Callable[[], AbstractContextManager[None]], ...]]] = {
    "plain": (
        case(tensor=2, sequence_parallel=True),
        (*ANYWHERE, wrong_vocabulary_offset, no_sum_over_the_vocabulary, no_sequence_parallel_gather),
    ),
    "fused": (
        case(tensor=2, sequence_parallel=True, fused=True),
        (*ANYWHERE, wrong_vocabulary_offset, no_sum_over_the_vocabulary),
    ),
    "context": (case(context=2), (*ANYWHERE, layout_of_the_other_context_rank)),
}
"""By path of the hidden states: a cut over two ranks, and the mistakes that can be made there."""


def run_mutations(rank: int, models: str, rows: Rows, path: str) -> dict[str, dict[str, Any] | str | None]:
    """By mutation, and for none: the columns of a pass without and with NTHR's own check of it, or the error."""
    prepare_process()
    case, mutations = MUTATIONS[path]
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
    for mutation in mutations:
        answers[f"checked {mutation.__name__}"] = scored(mutation())
        with mock.patch.object(recording, "CHECKED_TOKENS", 0):
            answers[mutation.__name__] = scored(mutation())
    answers["none"] = scored(nullcontext())
    return answers
