"""Base advantages of a batch as verl lays it out: sessions with several outputs, dropped rows, verl's estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from verl_nthr.advantages import RULES
from verl_nthr.integration.config.estimators import BASES, VERL_BASES
from verl_nthr.integration.config.options import AlgorithmOptions
from verl_nthr.integration.driver.base_advantage import base_advantages, share_of_kept

LAST = {"a_0_1": 1.0, "a_1_0": 0.0, "a_2_0": 0.0, "b_0_0": 0.0, "b_1_0": 0.0, "c_0_0": 1.0, "c_1_0": 1.0}
"""Rewards of the last outputs: a mixed group, one all wrong, one all correct."""

LENGTHS = [4, 3, 2, 4, 1, 3, 2]


def batch_of(rewards: dict[str, float], lengths: list[int]) -> Any:
    from verl.protocol import DataProto

    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    token_rewards = torch.zeros(len(rewards), 4)
    token_rewards[torch.arange(len(rewards)), torch.tensor(lengths) - 1] = torch.tensor(list(rewards.values()))
    return DataProto.from_dict(
        tensors={
            "token_level_rewards": token_rewards,
            "response_mask": mask.long(),
            "old_log_probs": -torch.arange(1.0, 5.0).expand(len(rewards), 4).clone(),
            "nthr_correct": torch.tensor(list(rewards.values())) > 0.5,
        },
        non_tensors={"uid": np.array([key[0] for key in rewards], dtype=object)},
    )


def advantages(base: str, rewards: dict[str, float], lengths: list[int]) -> torch.Tensor:
    from verl.trainer.config import AlgoConfig

    rule, data = AlgorithmOptions().rule(base), batch_of(rewards, lengths)
    return base_advantages(base, rule, data, list(rewards), adv_estimator="ours", config=AlgoConfig())


@pytest.mark.covers("training: several outputs a session", "trainer: every base advantage, on verl's batches")
@pytest.mark.parametrize("base", BASES)
def test_the_last_output_of_a_session_decides_whatever_the_base(base: str) -> None:
    expected = advantages(base, LAST, LENGTHS)
    with_earlier = {"a_0_0": 0.0, "b_1_0": 0.0} | LAST
    lengths = dict(zip(LAST, LENGTHS, strict=True))
    # the first output of session a_0 is rewarded otherwise than its last one, and longer than two tokens
    keys = ["a_0_0", *LAST]
    found = advantages(base, {key: with_earlier[key] for key in keys}, [3, *(lengths[key] for key in LAST)])
    torch.testing.assert_close(found[1:], expected)
    assert found[0, :3].tolist() == [float(expected[0, 0])] * 3
    assert found[0, 3] == 0


@pytest.mark.parametrize("base", VERL_BASES)
def test_verls_own_bases_are_verls_numbers(base: str) -> None:
    from verl.trainer.config import AlgoConfig
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    data = batch_of(LAST, LENGTHS)
    torch.manual_seed(0)
    np.random.seed(0)
    expected, _ = get_adv_estimator_fn(base)(
        token_level_rewards=data.batch["token_level_rewards"],
        response_mask=data.batch["response_mask"],
        index=data.non_tensor_batch["uid"],
        config=AlgoConfig(),
    )
    torch.testing.assert_close(advantages(base, LAST, LENGTHS), expected * data.batch["response_mask"])


def test_dr_grpo_is_reward_minus_mean() -> None:
    expected = torch.tensor([2 / 3, -1 / 3, -1 / 3, 0, 0, 0, 0])
    torch.testing.assert_close(advantages("dr_grpo", LAST, LENGTHS)[:, 0], expected)


def test_rules_see_rewards_correctness_groups_and_log_probs() -> None:
    assert advantages("psr", LAST, LENGTHS)[:, 0].tolist() == [1, 0, 0, 0, 0, 1, 1]
    assert advantages("nsr", LAST, LENGTHS)[:, 0].tolist() == [0, -1, -1, -1, -1, 0, 0]
    assert advantages("reinforce_rej", LAST, LENGTHS)[:, 0].tolist() == [1, -1, -1, 0, 0, 0, 0]
    assert advantages("w_reinforce", LAST, LENGTHS)[:, 0].tolist() == pytest.approx([0.1, -1, -1, -1, -1, 0.1, 0.1])
    ngrpo = advantages("ngrpo", LAST, LENGTHS)[:, 0].tolist()
    # R' = (1, 0, 0, 1): mean 0.5, deviation √(1/3); R' = (0, 0, 1): mean 1/3, deviation √(1/3)
    assert ngrpo == pytest.approx([0.8660, -0.8660, -0.8660, -0.5774, -0.5774, 0, 0], abs=1e-4)
    # mean log-probs −2.5 and −1 of the all-wrong group: the likelier response is punished more
    lens = advantages("lens", LAST, LENGTHS)[3:5, 0].tolist()
    assert lens[1] < 0 < lens[0]


@pytest.mark.parametrize(
    ("loss_agg_mode", "share"),
    [("token-mean", 9 / 19), ("seq-mean-token-mean", 3 / 7), ("seq-mean-token-sum-norm", 3 / 7), ("token-sum", 1.0)],
)
def test_the_share_of_kept_rows_makes_the_loss_a_mean_over_them(loss_agg_mode: str, share: float) -> None:
    from verl.trainer.ppo.core_algos import agg_loss

    found, mask = advantages("psr", LAST, LENGTHS), batch_of(LAST, LENGTHS).batch["response_mask"]
    assert share_of_kept(found, mask, loss_agg_mode) == pytest.approx(1.0 if loss_agg_mode == "token-sum" else share)
    kept = [0, 5, 6]
    scale = {"loss_scale_factor": 4} if loss_agg_mode.endswith("norm") else {}
    alone = agg_loss(-found[kept], mask[kept], loss_agg_mode, **scale)
    together = agg_loss(-found / share_of_kept(found, mask, loss_agg_mode), mask, loss_agg_mode, **scale)
    assert float(together) == pytest.approx(float(alone))


def test_without_a_kept_row_nothing_is_scaled() -> None:
    assert share_of_kept(torch.zeros(2, 3), torch.ones(2, 3), "token-mean") == 1.0


def test_bases_are_verls_or_rules() -> None:
    assert set(BASES) == {*VERL_BASES, "dr_grpo", *RULES}
