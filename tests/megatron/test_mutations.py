"""The comparison with the reference fails for deliberate mistakes, and the pass notices most of them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.passes import Rows
from tests.integration.references import check_log_probs, check_scores
from tests.megatron.mutations import MUTATIONS, run_mutations
from tests.processes import run_ranks

pytestmark = pytest.mark.distributed

NOTICED_BY_THE_PASS = (
    "hidden_state_of_the_next_position",
    "next_token_taken_for_each",
    "no_temperature",
    "rows_of_other_entries",
    "token_slice_forgotten",
    "layout_of_the_other_context_rank",
)

Answers = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def answers(models: Path, rows: Rows) -> Answers:
    """By path and rank, what :func:`tests.megatron.mutations.run_mutations` returned."""
    found = {path: run_ranks(run_mutations, 2, str(models), rows, path, timeout=200) for path in MUTATIONS}
    for results in found.values():
        for result in results:
            if isinstance(result, Exception):
                raise result
    return found


def mutations(*names: str) -> list[Any]:
    """Paths and names of mutations, of all or of those with one of the ``names``."""
    return [
        pytest.param(path, mutation.__name__, id=f"{path}, {mutation.__name__}")
        for path, (_, of_path) in MUTATIONS.items()
        for mutation in of_path
        if not names or mutation.__name__ in names
    ]


@pytest.mark.parametrize("path", MUTATIONS)
def test_without_a_mutation_the_scores_are_right(answers: Answers, models: Path, rows: Rows, path: str) -> None:
    found, case = [answers[path][0]["none"]], MUTATIONS[path][0]
    check_log_probs(found, models, rows, case)
    check_scores(found, models, rows, case)


@pytest.mark.parametrize(("path", "mutation"), mutations())
def test_every_mutation_is_caught_by_the_comparison(
    answers: Answers, models: Path, rows: Rows, path: str, mutation: str
) -> None:
    found, case = [answers[path][0][mutation]], MUTATIONS[path][0]
    if isinstance(found[0], str):
        return
    check_log_probs(found, models, rows, case)
    with pytest.raises(AssertionError):
        check_scores(found, models, rows, case)


@pytest.mark.parametrize(("path", "mutation"), mutations(*NOTICED_BY_THE_PASS))
def test_the_pass_itself_refuses_on_every_rank(answers: Answers, path: str, mutation: str) -> None:
    messages = [of_rank[f"checked {mutation}"] for of_rank in answers[path]]
    assert all(isinstance(message, str) for message in messages)
