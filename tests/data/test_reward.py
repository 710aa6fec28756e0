"""The reward function, beside verl's scorers, on the rows of every set."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.reward_score import default_compute_score, math_verify

from data.preparation.selection import verifiable
from tests.data.commands import SCRIPTS
from tests.data.rows import GOLDEN, Golden
from tests.families import failures
from verl_nthr.errors import InputError

WRONG = r"I think that it is $\boxed{123456}$."
VERLS_SCORER = {
    "math_levels": "math_reward",
    "math500": "math_reward",
    "dapo17k": "math_dapo",
    "aime24": "math_dapo",
    "aime25": "math_dapo",
}
"""By script or set, where verl's own routing sends it; it refuses the others."""


@pytest.fixture(scope="module")
def reward() -> Callable[..., dict[str, float]]:
    """As verl loads it."""
    custom = {"path": str(SCRIPTS / "reward.py"), "name": "compute_score"}
    function = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": custom}}))
    assert function is not None
    return function


def boxed(answer: str) -> str:
    return rf"Let us see. So the answer is $\boxed{{{answer}}}$."


def score(function: Callable[..., Any], golden: Golden, response: str) -> Any:
    return function(data_source=golden.data_source, solution_str=response, ground_truth=golden.ground_truth)


def test_right_and_wrong_answers_of_every_set(reward: Callable[..., Any]) -> None:
    def check(name: str) -> None:
        golden = GOLDEN[name]
        assert score(reward, golden, boxed(golden.ground_truth)) == {"score": 1.0, "acc": 1.0}
        assert score(reward, golden, WRONG) == {"score": 0.0, "acc": 0.0}
        assert score(reward, golden, "I do not know.") == {"score": 0.0, "acc": 0.0}

    assert failures(check, GOLDEN) == []


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


def test_it_is_the_scorer_of_verl(reward: Callable[..., Any]) -> None:
    def check(case: tuple[str, str]) -> None:
        expected = math_verify.compute_score(*case)
        found = reward(data_source="", solution_str=case[0], ground_truth=case[1])
        assert found == {"score": expected, "acc": expected}

    assert failures(check, RESPONSES) == []


def test_an_answer_is_verifiable_if_it_scores_1_against_itself(reward: Callable[..., Any]) -> None:
    verifiable_answers = ["5", r"\frac12", r"\text{east}", "(1,2), (3,4)"]
    answers = [*verifiable_answers, "", r"\text{}", "}{", "???", r"\frac{1}{", "10^{10^{10}}"]

    def itself(answer: str) -> float:
        return reward(data_source="", solution_str=rf"\boxed{{{answer}}}", ground_truth=answer)["score"]

    with ThreadPoolExecutor(4) as threads:
        scores = dict(zip(answers, threads.map(itself, answers), strict=True))
    assert {answer: float(verifiable(answer)) for answer in answers} == scores
    assert {answer for answer in answers if verifiable(answer)} >= set(verifiable_answers)
    assert not any(map(verifiable, ("", r"\text{}", "}{")))


def test_it_waits_for_the_scorer_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def answer(response: str, truth: str, timeout: float = 30.0) -> float:
        asked.append((response, timeout))
        return 1.0

    monkeypatch.setattr(math_verify, "compute_score", answer)
    compute_score = runpy.run_path(str(SCRIPTS / "reward.py"))["compute_score"]
    for response in ("a", "b"):
        compute_score("", response, "a")
    assert asked == [(r"\boxed{1}", 600.0), ("a", 30.0), ("b", 30.0)]


def test_a_scorer_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_verify, "compute_score", lambda *_, **__: 0.0)
    with pytest.raises(RuntimeError, match="did not find 1 equal to 1"):
        runpy.run_path(str(SCRIPTS / "reward.py"))["compute_score"]("", "1", "1")


def test_without_math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(InputError, match="pip install math-verify"):
        verifiable.__wrapped__("1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pip install math-verify"):
        runpy.run_path(str(SCRIPTS / "reward.py"))


def test_without_it_verl_scores_by_other_rules_or_refuses() -> None:
    def check(name: str) -> None:
        golden = GOLDEN[name]
        if name not in VERLS_SCORER:
            with pytest.raises(NotImplementedError, match=golden.data_source):
                score(default_compute_score, golden, WRONG)
            return
        scorer = importlib.import_module(f"verl.utils.reward_score.{VERLS_SCORER[name]}")
        for response, right in ((boxed(golden.ground_truth), True), (WRONG, False)):
            found = score(default_compute_score, golden, response)
            assert found == scorer.compute_score(response, golden.ground_truth)
            assert (found["acc"] if isinstance(found, dict) else found) == right

    assert failures(check, GOLDEN) == []
