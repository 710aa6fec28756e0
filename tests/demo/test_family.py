"""Every estimator of the package trains the demo's toy, all of them from the same warmed-up model."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from verl_nthr.demo import demo
from verl_nthr.demo.settings import PROMPTS_PER_STEP, Settings
from verl_nthr.demo.toy import Toy, write_data, write_model
from verl_nthr.heatmap.token_dump import read_step
from verl_nthr.integration.config.estimators import ESTIMATORS
from verl_nthr.weighting import WEIGHTINGS

STEPS = 3
LOWEST = {"psr": 0.0, "pos_only": 0.0}
HIGHEST = {"nsr": 0.0, "neg_only": 0.0}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy, splits = write_data(tmp_path_factory.mktemp("toy"), seed=0, train_prompts=STEPS * PROMPTS_PER_STEP)
    write_model(toy, splits, 0, lambda _: None)
    return toy


@pytest.mark.slow
@pytest.mark.covers("training: every estimator of the family")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_estimator_trains(toy: Toy, tmp_path: Path, estimator: str) -> None:
    settings = Settings(estimator, STEPS, 0, 1, tmp_path, 500, 300)
    display, _ = demo.train(settings, toy, Console(quiet=True))
    validation, *steps = display.steps
    assert validation.accuracy is not None
    assert [step.number for step in steps] == list(range(1, STEPS + 1))
    for step in steps:
        assert step.data["actor/grad_norm"] > 0
        lowest, highest = step.data["critic/advantages/min"], step.data["critic/advantages/max"]
        assert lowest < highest
        assert lowest >= LOWEST.get(estimator, -math.inf)
        assert highest <= HIGHEST.get(estimator, math.inf)
        weighting = ESTIMATORS[estimator].weighting
        expected = [] if weighting is None else [f"nthr/{WEIGHTINGS[weighting].effect}_fraction"]
        assert [name for name in step.data if re.fullmatch(r"nthr/(eased|kept|zeroed)_fraction", name)] == expected
    assert (settings.tokens is not None) == ESTIMATORS[estimator].is_scored
    if settings.tokens is not None:
        assert len(read_step(settings.tokens / f"{STEPS}.jsonl")) == PROMPTS_PER_STEP
