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

from data.preparation.errors import DataError
from data.preparation.verification import unverifiable
from tests.data.commands import SCRIPTS
from tests.data.rows import GOLDEN

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
    with pytest.raises(DataError, match="pip install math-verify"):
        unverifiable(["1"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pip install math-verify"):
        runpy.run_path(str(SCRIPTS / "reward.py"))


@pytest.mark.parametrize("name", VERLS_SCORER)
def test_without_it_verl_scores(name: str) -> None:
    golden, scorer = GOLDEN[name], importlib.import_module(f"verl.utils.reward_score.{VERLS_SCORER[name]}")
    for response, right in ((boxed(golden["ground_truth"]), True), (WRONG, False)):
        found = score(default_compute_score, golden, response)
        assert found == scorer.compute_score(response, golden["ground_truth"])
        assert (found["acc"] if isinstance(found, dict) else found) == right


@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - VERLS_SCORER.keys()))
def test_without_it_verl_refuses(name: str) -> None:
    with pytest.raises(NotImplementedError, match=GOLDEN[name]["data_source"]):
        score(default_compute_score, GOLDEN[name], WRONG)
