"""Advantages stay finite whatever reaches the driver, and the other groups' stay what they were."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.integration.steps import CORRECT, KEYS, StepBatch
from verl_nthr.heatmap.token_dump import read_step
from verl_nthr.integration.config.estimators import BASES, ESTIMATORS
from verl_nthr.integration.driver.nonfinite import NonFiniteError

NAN, INF = math.nan, math.inf
COUNT = "nthr/nonfinite_groups"
RIGHT, WRONG = "a_0_0", "a_2_0"
"""A correct and an incorrect response of a mixed group."""


pytestmark = pytest.mark.filterwarnings("ignore:step 1. .* is nan or infinite")


def of_groups(advantages: dict[str, Tensor], *uids: str) -> dict[str, list[float]]:
    return {key: value.tolist() for key, value in advantages.items() if key.split("_")[0] in uids}


def one_token(key: str, value: float) -> Callable[[StepBatch], None]:
    def inject(batch: StepBatch) -> None:
        batch.rows[key]["nthr_score"][-1] = value

    return inject


def a_response(batch: StepBatch) -> None:
    batch.rows[WRONG]["nthr_score"][:] = NAN


def a_group(batch: StepBatch) -> None:
    """As the workers answer."""
    for key in batch.keys_of("a"):
        batch.rows[key]["nthr_score"][:] = NAN
        batch.rows[key]["nthr_anchor"] = torch.tensor(NAN)


def an_anchor(value: float) -> Callable[[StepBatch], None]:
    def inject(batch: StepBatch) -> None:
        batch.rows[RIGHT]["nthr_anchor"] = torch.tensor(value)

    return inject


def test_the_sound_batch_is_weighed() -> None:
    advantages, metrics = StepBatch.sound().advantages()
    plain, _ = StepBatch.sound().advantages("grpo", use_verl=True)
    assert of_groups(advantages, "a") != of_groups(plain, "a")
    assert of_groups(advantages, "b") != of_groups(plain, "b")
    assert metrics[COUNT] == 0


@pytest.mark.parametrize(
    "inject",
    [
        *[one_token(key, value) for key in (RIGHT, WRONG) for value in (NAN, INF, -INF)],
        a_response,
        a_group,
        *[an_anchor(value) for value in (NAN, INF, -INF)],
    ],
)
@pytest.mark.parametrize("estimator", ["nthr", "thr", "nthr_random"])
def test_without_a_score_a_group_gets_verls_grpo(estimator: str, inject: Callable[[StepBatch], None]) -> None:
    batch = StepBatch.sound()
    inject(batch)
    advantages, metrics = batch.advantages(estimator)
    assert of_groups(advantages, "a") == of_groups(batch.advantages("grpo", use_verl=True)[0], "a")
    sound, _ = StepBatch.sound().advantages(estimator)
    assert of_groups(advantages, "b", "c", "pad") == of_groups(sound, "b", "c", "pad")
    assert metrics[COUNT] == 1
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_rank_without_scores_costs_all_its_groups_their_weights() -> None:
    batch = StepBatch.sound()
    for key in KEYS[:6]:
        batch.rows[key]["nthr_score"][:] = NAN
    advantages, metrics = batch.advantages()
    assert of_groups(advantages, "a", "b") == of_groups(batch.advantages("grpo", use_verl=True)[0], "a", "b")
    assert metrics[COUNT] == 2


def test_what_is_no_fault_is_not_counted() -> None:
    # all tokens, by β = −∞
    assert StepBatch.sound().advantages(beta=-INF)[1][COUNT] == 0
    # no anchor: the correct responses have no tokens
    batch = StepBatch.sound()
    for key in batch.keys_of("a"):
        batch.rows[key]["nthr_anchor"] = torch.tensor(NAN)
        if key in CORRECT:
            batch.rows[key]["response_mask"][:] = 0
            batch.rows[key]["nthr_score"][:] = NAN
    assert batch.advantages()[1][COUNT] == 0
    # an observation between the tokens
    batch = StepBatch.sound()
    batch.rows[RIGHT]["response_mask"][1] = 0
    batch.rows[RIGHT]["nthr_score"][1] = NAN
    assert batch.advantages()[1][COUNT] == 0


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("base", BASES)
def test_without_a_reward_a_group_learns_nothing_and_others_do_as_if_it_were_not_there(base: str, value: float) -> None:
    batch = StepBatch.sound()
    batch.rows[WRONG]["rm_scores"][-1] = value
    # the rows of the group stay in the denominator of verl's loss
    options = {"base": base, "loss_denominator": "all_tokens"}
    advantages, metrics = batch.advantages(**options)
    expected, _ = batch.without(*batch.keys_of("a")).advantages(**options)
    assert {x for values in of_groups(advantages, "a").values() for x in values} == {0.0}
    assert of_groups(advantages, "b", "c", "pad") == of_groups(expected, "b", "c", "pad")
    assert metrics[COUNT] == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_counts_and_stays_finite(estimator: str) -> None:
    batch = StepBatch.sound()
    assert batch.advantages(estimator)[1][COUNT] == 0
    for key in (WRONG, "b_1_0", "pad_0_0"):
        batch.rows[key]["rm_scores"][-1] = NAN
    advantages, metrics = batch.advantages(estimator)
    assert all(value.isfinite().all() for value in advantages.values())
    assert metrics[COUNT] == 2


def test_no_group_with_a_reward_is_no_update() -> None:
    batch = StepBatch.sound()
    for key in KEYS:
        batch.rows[key]["rm_scores"][-1] = NAN
    advantages, metrics = batch.advantages()
    assert {x for value in advantages.values() for x in value.tolist()} == {0.0}
    assert metrics[COUNT] == 3
    assert metrics["nthr/mixed_group_fraction"] == 0


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_metric_is_as_good_as_a_reward(value: float) -> None:
    batch = StepBatch.sound()
    batch.rows[WRONG]["extra_fields"]["reward_extra_info"]["acc"] = value
    advantages, metrics = batch.advantages(metric="acc")
    assert {x for values in of_groups(advantages, "a").values() for x in values} == {0.0}
    assert of_groups(advantages, "b") == of_groups(StepBatch.sound().advantages(metric="acc")[0], "b")
    assert metrics[COUNT] == 1
    assert metrics["nthr/mixed_group_fraction"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [NAN, -INF])
def test_a_base_advantage_that_is_not_finite_is_0(value: float) -> None:
    batch = StepBatch.sound()
    batch.rows[WRONG]["old_log_probs"][0] = value
    advantages, metrics = batch.advantages("lens")
    assert {x for values in of_groups(advantages, "a").values() for x in values} == {0.0}
    assert of_groups(advantages, "b", "c") == of_groups(StepBatch.sound().advantages("lens")[0], "b", "c")
    assert metrics[COUNT] == 1


def test_a_group_with_several_faults_is_one_group() -> None:
    batch = StepBatch.sound()
    batch.rows[WRONG]["nthr_score"][0] = NAN
    batch.rows[WRONG]["old_log_probs"][0] = NAN
    assert batch.advantages("lens", weighting="nthr")[1][COUNT] == 1


def faults() -> Iterator[tuple[StepBatch, dict[str, object], str]]:
    batch = StepBatch.sound()
    batch.rows[WRONG]["nthr_score"][0] = NAN
    yield batch, {}, "a hidden state, log-prob or score of the prompt groups a"
    batch = StepBatch.sound()
    batch.rows["b_0_0"]["rm_scores"][0] = INF
    yield batch, {}, "a reward, or value of the metric, of the prompt groups b"
    batch = StepBatch.sound()
    batch.rows["c_1_0"]["old_log_probs"][0] = NAN
    yield batch, {"base": "lens"}, r"a base advantage \(lens\) of the prompt groups c"


@pytest.mark.parametrize(("batch", "options", "message"), list(faults()))
def test_raise_stops_and_fallback_warns_once(batch: StepBatch, options: dict[str, object], message: str) -> None:
    with pytest.raises(NonFiniteError, match=rf"step 3: {message} is nan or infinite; .*on_nonfinite=fallback"):
        batch.advantages(on_nonfinite="raise", step=3, **options)
    warned: set[str] = set()
    with pytest.warns(UserWarning, match=rf"step 3: {message} is nan or infinite: .*on_nonfinite=raise"):
        batch.advantages(step=3, warned=warned, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batch.advantages(step=4, warned=warned, **options)[1][COUNT] == 1


def test_a_sound_batch_does_not_raise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StepBatch.sound().advantages(on_nonfinite="raise")


def test_the_token_dump_shows_the_group_as_not_scored(tmp_path: Path) -> None:
    batch = StepBatch.sound()
    batch.rows[WRONG]["nthr_score"][0] = NAN
    batch.rows["c_0_0"]["rm_scores"][0] = NAN
    batch.advantages(token_dump_dir=str(tmp_path), step=2)
    dumped = {group.uid: group.responses for group in read_step(tmp_path / "2.jsonl")}
    assert set(dumped) == {"a", "b"}, "a group without rewards is left out"
    for response in dumped["a"]:
        assert response.tau is None
        assert set(response.scores) == {None}
        assert set(response.weights) == {1.0}
    for response in dumped["b"]:
        assert None not in (response.tau, *response.scores)
    assert {weight for response in dumped["b"] for weight in response.weights} != {1.0}
