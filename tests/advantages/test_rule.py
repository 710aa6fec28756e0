"""What holds for every rule."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.advantages.groups import Response, batches, binary_group, group_rewards, reproducible, shuffled
from verl_nthr.advantages import RULES, AdvantageRule

every_rule = pytest.mark.parametrize("rule", [rule() for rule in RULES.values()], ids=list(RULES))


@every_rule
@reproducible
@given(groups=batches)
def test_one_finite_advantage_a_response(rule: AdvantageRule, groups):
    batch = group_rewards(groups)
    advantages = rule(batch)
    assert advantages.shape == batch.rewards.shape
    assert advantages.dtype == torch.float32
    assert advantages.isfinite().all()


@every_rule
@reproducible
@given(groups=batches, seed=st.integers(0, 2**16))
def test_the_order_of_responses_does_not_matter(rule: AdvantageRule, groups, seed: int):
    order = list(range(sum(map(len, groups))))
    random.Random(seed).shuffle(order)
    in_order, out_of_order = group_rewards(groups), group_rewards(groups, order)
    torch.testing.assert_close(rule(out_of_order), shuffled(rule(in_order), order), rtol=1e-6, atol=1e-9)
    assert torch.equal(rule.keeps(out_of_order), shuffled(rule.keeps(in_order), order))


@every_rule
@reproducible
@given(groups=batches)
def test_groups_do_not_influence_each_other(rule: AdvantageRule, groups):
    together = group_rewards(groups)
    alone = [group_rewards([group]) for group in groups]
    torch.testing.assert_close(rule(together), torch.cat([rule(one) for one in alone]), rtol=1e-6, atol=1e-9)
    assert torch.equal(rule.keeps(together), torch.cat([rule.keeps(one) for one in alone]))


@every_rule
@reproducible
@given(groups=batches)
def test_dropped_responses_have_no_advantage(rule: AdvantageRule, groups):
    batch = group_rewards(groups)
    kept = rule.keeps(batch)
    assert kept.dtype == torch.bool
    assert kept.shape == batch.correct.shape
    assert (rule(batch)[~kept] == 0).all()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("psr", "#.. ## .. # ."),
        ("nsr", ".## .. ## . #"),
        ("reinforce_rej", "### .. .. . ."),
        ("ngrpo", "### ## ## # #"),
        ("w_reinforce", "### ## ## # #"),
        ("s_grpo", "### ## ## # #"),
        ("lens", "### ## ## # #"),
    ],
)
def test_which_responses_take_part_in_the_loss(name: str, kept: str):
    batch = group_rewards([binary_group(pattern) for pattern in ("+--", "++", "--", "+", "-")])
    assert RULES[name]().keeps(batch).tolist() == [mark == "#" for mark in kept.replace(" ", "")]


@every_rule
def test_a_batch_without_responses(rule: AdvantageRule):
    assert rule(group_rewards([])).shape == (0,)


@pytest.mark.parametrize(
    ("name", "option", "values", "hint"),
    [
        ("ngrpo", "max_reward", [math.nan, math.inf, True, "1", None], "a finite number"),
        ("w_reinforce", "positive_weight", [-0.1, math.nan, math.inf, False, "0.1"], "a finite number, at least 0"),
        ("s_grpo", "noise_rate", [-0.01, 0.5, 1, math.nan, True, "0.1"], r"a number in \[0, 0.5\)"),
        ("lens", "all_wrong_weight", [-1, math.nan, math.inf, True, None], "a finite number, at least 0"),
    ],
)
def test_bad_options_are_refused(name: str, option: str, values: list, hint: str):
    for value in values:
        with pytest.raises(ValueError, match=f"^{option}={value!r}: use {hint}$"):
            RULES[name](**{option: value})


def test_options_and_their_defaults():
    defaults = {name: {field.name: field.default for field in dataclasses.fields(rule)} for name, rule in RULES.items()}
    assert defaults == {
        "ngrpo": {"max_reward": 1.0},
        "psr": {},
        "nsr": {},
        "w_reinforce": {"positive_weight": 0.1},
        "s_grpo": {"noise_rate": 0.1},
        "reinforce_rej": {},
        "lens": {"all_wrong_weight": 0.25},
    }


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.binary])
@reproducible
@given(groups=batches)
def test_binary_rules_do_not_see_the_rewards(name: str, groups):
    batch, rule = group_rewards(groups), RULES[name]()
    unknown = dataclasses.replace(batch, rewards=torch.full_like(batch.rewards, torch.nan))
    assert torch.equal(rule(unknown), rule(batch))
    assert torch.equal(rule.keeps(unknown), rule.keeps(batch))


@every_rule
def test_signal_of_homogeneous_groups(rule: AdvantageRule):
    wrong = [Response(False, 0.0, mean_log_prob) for mean_log_prob in (-0.1, -0.2, -0.4)]
    right = [Response(True, 1.0, mean_log_prob) for mean_log_prob in (-0.1, -0.2, -0.4)]
    assert bool(rule(group_rewards([wrong])).any()) == rule.learns_from_all_wrong
    assert bool(rule(group_rewards([right])).any()) == rule.learns_from_all_correct
