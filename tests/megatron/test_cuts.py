"""However verl's real Megatron engine cuts the model, a pass gives the scores of one process in float64."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.integration.passes import Rows
from tests.integration.references import check_log_probs, check_scores
from tests.megatron.passes import MegatronCase, case, run_pass, support_rows
from tests.processes import run_ranks

# per number of ranks; mbridge changes its table of weights for good when it loads a tied model: those come last
FAST: dict[int, tuple[MegatronCase, ...]] = {
    2: (
        case(tensor=2, sequence_parallel=True),
        case(context=2, packed=False, dynamic=False),
        case(pipeline=2, tied=True),
    ),
}
THOROUGH: dict[int, tuple[MegatronCase, ...]] = {
    1: (
        case(),
        case(packed=False, dynamic=False, anchor_includes_self=False),
        case(pad_to_length=True, vocabulary="full"),
        case(fused=True, dynamic=False),
        case(packed=False, tied=True),
        case(fused=True, tied=True),
    ),
    2: (
        case(),
        case(packed=False, dynamic=False, vocabulary="full"),
        case(tensor=2),
        case(tensor=2, packed=False, vocabulary="full", anchor_includes_self=False),
        case(tensor=2, packed=False, dynamic=False, sequence_parallel=True),
        case(tensor=2, pad_to_length=True, anchor_includes_self=False),
        case(tensor=2, fused=True),
        case(tensor=2, fused=True, sequence_parallel=True),
        case(pipeline=2),
        case(pipeline=2, packed=False),
        case(pipeline=2, fused=True),
        case(pipeline=2, virtual_pipeline=2),
        case(pipeline=2, virtual_pipeline=2, dynamic=False),
        case(context=2),
        case(context=2, fused=True),
        case(context=2, pad_to_length=True),
        case(context=2, anchor_includes_self=False, vocabulary="full"),
        case(tensor=2, vocabulary_multiple=64),
        case(fused=True, tied=True),
        case(tensor=2, tied=True, sequence_parallel=True, dynamic=False),
        case(tensor=2, tied=True, fused=True),
        case(context=2, tied=True),
        case(context=2, tied=True, length_normalised=True, anchor_includes_self=False),
        case(tensor=2, tied=True, length_normalised=True),
        case(pipeline=2, tied=True, virtual_pipeline=2, fused=True),
    ),
    4: (
        case(),
        case(tensor=2, sequence_parallel=True),
        case(tensor=4, vocabulary="full"),
        case(tensor=4, sequence_parallel=True, fused=True),
        case(tensor=4, vocabulary_multiple=128),  # the last rank has padding rows alone
        case(tensor=2, pipeline=2, sequence_parallel=True),
        case(tensor=2, pipeline=2, packed=False),
        case(tensor=2, context=2, sequence_parallel=True),
        case(tensor=2, context=2, packed=False, dynamic=False, anchor_includes_self=False),
        case(tensor=2, context=2, sequence_parallel=True, fused=True, vocabulary="full", anchor_includes_self=False),
        case(pipeline=2, dynamic=False),
        case(pipeline=2, context=2),
        case(context=2, anchor_includes_self=False),
        case(context=4),
        case(tensor=2, tied=True),
        case(tensor=2, pipeline=2, virtual_pipeline=2, tied=True, dynamic=False),
        case(tensor=2, context=2, tied=True, fused=True),
    ),
}

BY_MEGATRON_BRIDGE: dict[int, tuple[MegatronCase, ...]] = {
    2: (
        case(megatron_bridge=True),
        case(megatron_bridge=True, tensor=2, sequence_parallel=True),
        case(megatron_bridge=True, tensor=2, fused=True),
        case(megatron_bridge=True, pipeline=2, virtual_pipeline=2),
        case(megatron_bridge=True, context=2, packed=False),
        case(megatron_bridge=True, tensor=2, tied=True),
        case(megatron_bridge=True, pipeline=2, tied=True),
    ),
    4: (
        case(megatron_bridge=True, tensor=2, pipeline=2),
        case(megatron_bridge=True, tensor=2, context=2, sequence_parallel=True),
    ),
}


@cache
def results(models: Path, rows: Rows, ranks: int, cases: tuple[MegatronCase, ...]) -> list[Any]:
    """By rank, what it returned for each case, or an error that every case of the batch is to raise."""
    try:
        return run_ranks(run_pass, ranks, str(models), rows, cases, timeout=500)
    except AssertionError as hang:
        return [hang]


def check(models: Path, rows: Rows, ranks: int, cases: tuple[MegatronCase, ...], index: int) -> None:
    by_rank = results(models, rows, ranks, cases)
    for result in by_rank:
        if isinstance(result, BaseException):
            raise result
    found = [result[index] for result in by_rank if result[index] is not None]
    check_log_probs(found, models, rows, cases[index])
    check_scores(found, models, rows, cases[index])


def parameters(cuts: dict[int, tuple[MegatronCase, ...]]) -> list[Any]:
    return [
        pytest.param(
            ranks,
            index,
            id=f"{ranks}ranks, {cases[index]}",
            marks=pytest.mark.covers(*support_rows(ranks, cases[index])),
        )
        for ranks, cases in cuts.items()
        for index in range(len(cases))
    ]


@pytest.mark.parametrize(("ranks", "index"), parameters(FAST))
def test_scores_and_thresholds_are_those_of_hugging_face(models: Path, rows: Rows, ranks: int, index: int) -> None:
    check(models, rows, ranks, FAST[ranks], index)


@pytest.mark.distributed
@pytest.mark.parametrize(("ranks", "index"), parameters(THOROUGH))
def test_every_cut_gives_the_scores_of_hugging_face(models: Path, rows: Rows, ranks: int, index: int) -> None:
    check(models, rows, ranks, THOROUGH[ranks], index)


@pytest.mark.distributed
@pytest.mark.parametrize(("ranks", "index"), parameters(BY_MEGATRON_BRIDGE))
def test_models_loaded_by_megatron_bridge_give_the_same(models: Path, rows: Rows, ranks: int, index: int) -> None:
    check(models, rows, ranks, BY_MEGATRON_BRIDGE[ranks], index)


@pytest.mark.distributed
@pytest.mark.covers("Megatron: bfloat16, by tolerance")
@pytest.mark.parametrize("fused", [False, True])
def test_half_precision_is_not_refused_and_comes_close(models: Path, rows: Rows, fused: bool) -> None:
    half = case(dtype="bf16", tensor=2, sequence_parallel=True, fused=fused)
    check_scores([results(models, rows, 2, (half,))[0][0]], models, rows, half, tolerance=0.1)
