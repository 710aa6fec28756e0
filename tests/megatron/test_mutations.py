"""The comparison with the reference fails for deliberate mistakes, and the pass notices most of them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.passes import Rows
from tests.integration.references import check_log_probs, check_scores
from tests.megatron.mutations import MUTATIONS, run_mutations
from tests.megatron.passes import case
from tests.processes import run_ranks

pytestmark = pytest.mark.distributed

CASE = case(tensor=2, sequence_parallel=True)
NOTICED_BY_THE_PASS = (
    "wrong_vocabulary_offset",
    "no_sequence_parallel_gather",
    "hidden_state_of_the_next_position",
    "no_temperature_in_the_pass",
)


@pytest.fixture(scope="module")
def answers(models: Path, rows: Rows) -> list[dict[str, Any]]:
    results = run_ranks(run_mutations, 2, str(models), rows, CASE, timeout=400)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def test_without_a_mutation_the_scores_are_right(answers: list[dict[str, Any]], models: Path, rows: Rows) -> None:
    found = [answers[0]["none"]]
    check_log_probs(found, models, rows, CASE)
    check_scores(found, models, rows, CASE)


@pytest.mark.parametrize("mutation", [mutation.__name__ for mutation in MUTATIONS])
def test_every_mutation_is_caught_by_the_comparison(
    answers: list[dict[str, Any]], models: Path, rows: Rows, mutation: str
) -> None:
    found = [answers[0][mutation]]
    check_log_probs(found, models, rows, CASE)
    with pytest.raises(AssertionError):
        check_scores(found, models, rows, CASE)


@pytest.mark.parametrize("mutation", NOTICED_BY_THE_PASS)
def test_the_pass_itself_refuses_on_every_rank(answers: list[dict[str, Any]], mutation: str) -> None:
    messages = [of_rank[f"checked {mutation}"] for of_rank in answers]
    assert all(isinstance(message, str) for message in messages)
    assert any("output layer" in message for message in messages)
