"""The comparison with the reference fails for deliberate mistakes, and the pass notices many of them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration import mutations
from tests.integration.fsdp import build_engine, rows_of
from tests.integration.mutations import Mutation, run_with
from tests.integration.passes import Case, make_rows
from tests.integration.references import check_log_probs, check_scores
from tests.processes import run_ranks

EVERYWHERE = (
    mutations.hidden_state_of_the_next_position,
    mutations.next_token_taken_for_each,
    mutations.no_temperature,
    mutations.tokens_outside_the_mask_counted,
    mutations.sums_in_bfloat16,
)
CASES: list[tuple[Case, tuple[Mutation, ...]]] = [
    (
        Case("fsdp2", packed=True, dynamic=True, ulysses=2, padded_to=50),
        (*EVERYWHERE, mutations.appended_padding_forgotten, mutations.no_sum_over_the_ranks_of_a_response),
    ),
    (
        Case("fsdp", packed=False, dynamic=True),
        (*EVERYWHERE, mutations.padding_at_the_end_of_rows_counted, mutations.no_sum_over_the_ranks),
    ),
]
PARAMETERS = [
    pytest.param(index, mutation.__name__, id=f"{case}: {mutation.__name__}")
    for index, (case, tried) in enumerate(CASES)
    for mutation in tried
]
NOTICED_BY_THE_PASS = {
    "hidden_state_of_the_next_position",
    "next_token_taken_for_each",
    "no_temperature",
    "appended_padding_forgotten",
    "no_sum_over_the_ranks_of_a_response",
}
ROWS = make_rows(0, vocab_size=70)


def run_mutations(rank: int, models: str) -> list[dict[str, Any]]:
    """By case and mutation, what the pass gives."""
    engines = [build_engine(models, case) for case, _ in CASES]
    return [
        run_with(tried, engine, ROWS, rows_of(engine, ROWS), case)
        for engine, (case, tried) in zip(engines, CASES, strict=True)
    ]


@pytest.fixture(scope="module")
def answers(models: Path) -> list[list[dict[str, Any]]]:
    """By rank and case."""
    results = run_ranks(run_mutations, 2, str(models), timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.mark.parametrize("index", range(len(CASES)), ids=[str(case) for case, _ in CASES])
def test_without_a_mutation_the_scores_are_right(answers: list[list[dict[str, Any]]], models: Path, index: int) -> None:
    found = [of_rank[index]["none"] for of_rank in answers if of_rank[index]["none"] is not None]
    check_log_probs(found, models, ROWS, CASES[index][0])
    check_scores(found, models, ROWS, CASES[index][0])


@pytest.mark.parametrize(("index", "mutation"), PARAMETERS)
def test_every_mutation_is_caught(answers: list[list[dict[str, Any]]], models: Path, index: int, mutation: str) -> None:
    found = [of_rank[index][mutation] for of_rank in answers if of_rank[index][mutation] is not None]
    if any(isinstance(answer, str) for answer in found):
        assert all(isinstance(of_rank[index][mutation], str) for of_rank in answers)
        return
    check_log_probs(found, models, ROWS, CASES[index][0])
    with pytest.raises(AssertionError):
        check_scores(found, models, ROWS, CASES[index][0])


@pytest.mark.parametrize(("index", "mutation"), [p for p in PARAMETERS if p.values[1] in NOTICED_BY_THE_PASS])
def test_the_pass_itself_refuses_on_every_rank(answers: list[list[dict[str, Any]]], index: int, mutation: str) -> None:
    messages = [of_rank[index][f"checked {mutation}"] for of_rank in answers]
    assert all(isinstance(message, str) for message in messages), messages
