"""The same batch gives the same weights: bit for bit on the same cut, but for tokens close to τ over cuts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.integration import test_fsdp_cuts
from tests.integration.passes import Case, make_rows
from tests.integration.repetition import answers_of_cases, check_cuts, check_repeated, differences, run_twice
from tests.processes import run_ranks
from verl_nthr.integration.driver.advantage import seed_of

BATCHES = [make_rows(seed, vocab_size=70) for seed in range(3)]
CASES = [
    Case("fsdp2", packed=True, dynamic=True),
    Case("fsdp2", packed=False, dynamic=False, anchor_includes_self=False, tied=True),
]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_pass_is_repeated_bit_for_bit_in_a_process_and_in_new_ones(models: Path, ranks: int) -> None:
    runs = [run_ranks(run_twice, ranks, str(models), BATCHES, CASES, timeout=300) for _ in range(2)]
    check_repeated(runs, len(BATCHES) * len(CASES))


def test_the_differences_of_two_cuts_by_hand() -> None:
    nan = float("nan")
    one = [{"mine": [0, 1], "scores": [[1.0, nan], [2.0]], "anchors": [0.5, nan]}]
    other = [
        {"mine": [1], "scores": [[2.0]], "anchors": [nan]},
        {"mine": [0], "scores": [[1.5, nan]], "anchors": [0.25]},
    ]
    assert differences(one, other) == (0.25, 0.125)


def test_cuts_differ_within_the_bound_and_select_the_same_tokens_beyond_it(models: Path) -> None:
    cuts = []
    for name, (_, cases) in test_fsdp_cuts.SETS.items():
        cuts += zip(cases, answers_of_cases(test_fsdp_cuts.results(models, name)), strict=True)
    assert check_cuts(cuts) > 50


def test_random_choices_follow_from_the_seed_the_step_and_the_update() -> None:
    def seed(data: dict[str, int | None], step: int, update: int) -> int:
        return seed_of(SimpleNamespace(config=SimpleNamespace(data=data), global_steps=step, local_trigger_step=update))

    assert seed({"seed": 3}, 7, 1) == seed({"seed": 3}, 7, 1)
    assert seed({"seed": None}, 7, 1) == seed({"seed": 0}, 7, 1) == seed({}, 7, 1)
    near = {seed({"seed": s}, step, update) for s in range(10) for step in range(100) for update in range(4)}
    assert len(near) == 10 * 100 * 4
