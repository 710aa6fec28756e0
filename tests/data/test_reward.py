"""The reward function, beside verl's scorers, on the rows of every set."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.reward_score import default_compute_score, math_verify

from data.preparation.verification import unverifiable
from tests.data.commands import SCRIPTS
from tests.data.rows import GOLDEN

WRONG = r"I think that it is $\boxed{123456}$."
OWN_SCORER = ["math_levels", "math500", "dapo17k", "aime24", "aime25"]
"""The sets that verl's own routing sends to a scorer that reads a box."""


@pytest.fixture(scope="module")
def reward() -> Callable[..., dict[str, float]]:
    """As verl loads it."""
    custom = {"path": str(SCRIPTS / "reward.py"), "name": "compute_score"}
    function = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": custom}}))
    assert function is not None
    return function


def boxed(answer: str) -> str:
    return rf"Let us see. So the answer is $\boxed{{{answer}}}$."


def score(function: Callable[..., Any], golden: dict[str, Any], response: str) -> Any:
    return function(
        data_source=golden["data_source"],
        solution_str=response,
        ground_truth=golden["ground_truth"],
        extra_info=golden["extra_info"],
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_right_and_wrong_answers_of_every_set(name: str, reward: Callable[..., Any]) -> None:
    golden = GOLDEN[name]
    assert score(reward, golden, boxed(golden["ground_truth"])) == {"score": 1.0, "acc": 1.0}
    assert score(reward, golden, WRONG) == {"score": 0.0, "acc": 0.0}
    assert score(reward, golden, "I do not know.") == {"score": 0.0, "acc": 0.0}


RESPONSES = [
    (boxed("0.5"), r"\frac12"),
    (boxed(r"\frac{2}{4}"), "0.5"),
    (boxed("2, -2"), "-2, 2"),
    (boxed(r"\text{west}"), r"\text{east}"),
    (boxed("3"), ""),
    (boxed(""), ""),
    ("The answer is 7", "7"),
    (r"\boxed{7", "7"),
    (boxed("x=7"), "7"),
]


@pytest.mark.parametrize(("response", "truth"), RESPONSES)
def test_it_is_the_scorer_of_verl(response: str, truth: str, reward: Callable[..., Any]) -> None:
    expected = math_verify.compute_score(response, truth)
    assert reward(data_source="", solution_str=response, ground_truth=truth) == {"score": expected, "acc": expected}


def test_an_answer_is_verifiable_if_it_scores_1_against_itself(reward: Callable[..., Any]) -> None:
    verifiable = ["5", r"\frac12", r"\text{east}", "(1,2), (3,4)"]
    answers = [*verifiable, "", r"\text{}", "}{", "???", r"\frac{1}{", "10^{10^{10}}"]

    def itself(answer: str) -> float:
        return reward(data_source="", solution_str=rf"\boxed{{{answer}}}", ground_truth=answer)["score"]

    with ThreadPoolExecutor(4) as threads:
        scores = dict(zip(answers, threads.map(itself, answers), strict=True))
    assert unverifiable(answers) == {answer for answer in answers if scores[answer] == 0}
    assert {"", r"\text{}", "}{"} <= unverifiable(answers)
    assert not unverifiable(verifiable)


@pytest.mark.parametrize("name", GOLDEN)
def test_without_it_verl_scores_or_refuses(name: str) -> None:
    golden = GOLDEN[name]
    if name not in OWN_SCORER:
        with pytest.raises(NotImplementedError):
            score(default_compute_score, golden, WRONG)
        return
    right = score(default_compute_score, golden, boxed(golden["ground_truth"]))
    wrong = score(default_compute_score, golden, WRONG)
    if isinstance(right, dict):
        assert (right["score"], right["acc"], wrong["score"], wrong["acc"]) == (1.0, True, -1.0, False)
    else:
        assert (right, wrong) == (1.0, 0.0)
