"""Advantage rules, token weightings and loss terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from hypothesis import strategies as st

from fuzzing.target import Target
from fuzzing.tensors import numbers, seeds, specials, values
from verl_nthr.advantages import RULES, GroupRewards
from verl_nthr.losses.llds import llds
from verl_nthr.losses.positive_nll import positive_nll
from verl_nthr.weighting import WEIGHTINGS, Responses

Case = tuple[type, dict[str, Any], Any]


def options_of(kinds: dict[str, type]) -> st.SearchStrategy[tuple[type, dict[str, Any]]]:
    """A class, and one of its options with any value, or none."""

    def with_options(kind: type) -> st.SearchStrategy[tuple[type, dict[str, Any]]]:
        names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
        chosen = st.dictionaries(st.sampled_from(names), numbers, max_size=1) if names else st.just({})
        return st.tuples(st.just(kind), chosen)

    return st.sampled_from(list(kinds.values())).flatmap(with_options)


def _group_rewards(rows: list[tuple[float, bool, int, float, int]]) -> GroupRewards:
    rewards, correct, group, log_probs, lengths = zip(*rows, strict=True) if rows else [[]] * 5
    return GroupRewards(
        torch.tensor(rewards, dtype=torch.float32),
        torch.tensor(correct, dtype=torch.bool),
        torch.tensor(group, dtype=torch.int64),
        torch.tensor(log_probs, dtype=torch.float32),
        torch.tensor(lengths, dtype=torch.int64),
    )


rewards = st.one_of(st.sampled_from((0.0, 1.0)), st.floats(-(2.0**127), 2.0**127, width=32))
log_probs = st.sampled_from((0.0, -1e-8, -0.5, -20.0, -1e4, -3e38))
rows = st.tuples(rewards, st.booleans(), st.integers(0, 3), log_probs, st.sampled_from((1, 2, 7, 4000, 10**6)))
group_rewards = st.lists(rows, max_size=8).map(_group_rewards)


def check_advantages(case: tuple[tuple[type, dict[str, Any]], GroupRewards]) -> None:
    """One finite advantage a response, 0 where the response is dropped."""
    (kind, options), batch = case
    rule = kind(**options)
    advantages = rule(batch)
    assert advantages.shape == batch.rewards.shape
    assert advantages.dtype == torch.float32
    assert advantages.isfinite().all()
    assert (advantages[~rule.keeps(batch)] == 0.0).all()


@st.composite
def responses(draw: st.DrawFn) -> Responses:
    """Scores and thresholds of any value; padding rows have none."""
    shape = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    seed, rate = draw(seeds), draw(st.sampled_from((0.25, 0.5, torch.nan)))
    score = values(shape, seed, 1.0, draw(specials)).float()
    if rate != rate:
        score.fill_(torch.nan)
    return Responses(
        advantage=values(shape, seed + 1, 1.0, []).float(),
        score=score,
        threshold=values(shape[:1], seed + 2, 1.0, draw(specials)).float(),
        correct=values(shape[:1], seed + 3, 1.0, []) > 0,
        success_rate=torch.full(shape[:1], rate),
        seed=seed,
    )


def check_weights(case: tuple[tuple[type, dict[str, Any]], Responses]) -> None:
    """One finite weight from 0 to below 2 for each token; those selected are among the candidates or reach τ."""
    (kind, options), batch = case
    weighting = kind(**options)
    weights = weighting.weights(batch)
    assert weights.shape == weighting.selected(batch).shape == weighting.candidates(batch).shape == batch.score.shape
    assert weights.isfinite().all()
    assert ((weights >= 0) & (weights < 2)).all()


@st.composite
def losses(draw: st.DrawFn) -> tuple[Any, ...]:
    """Log-probs that are finite in the mask and anything outside, rows, a number of tokens and of ranks."""
    shape = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    seed = draw(seeds)
    mask = values(shape, seed, 1.0, []) > 0
    new, old = (
        torch.where(mask, -values(shape, seed + place, 1.0, []).abs(), values(shape, seed, 1.0, draw(specials))).float()
        for place in (1, 2)
    )
    chosen = values(shape[:1], seed + 3, 1.0, []) > 0
    return new, old, mask, chosen, draw(st.sampled_from((0, 1, 5))), draw(st.sampled_from((1, 8)))


def check_losses(case: tuple[Any, ...]) -> None:
    """Finite terms and gradients, whatever stands outside of the mask, where gradients are 0."""
    new, old, mask, chosen, tokens, ranks = case
    for loss in (
        lambda log_probs: positive_nll(log_probs, mask, chosen, tokens, ranks),
        lambda log_probs: llds(log_probs, old, mask, chosen, tokens, ranks)[0],
    ):
        log_probs = new.clone().requires_grad_()
        term = loss(log_probs)
        (gradient,) = torch.autograd.grad(term, log_probs)
        assert term.shape == ()
        assert term >= 0
        assert term.isfinite()
        assert gradient.isfinite().all()
        assert (gradient[~(mask & chosen[:, None])] == 0).all()


TARGETS = (
    Target("advantages", st.tuples(options_of(RULES), group_rewards), check_advantages, (ValueError,)),
    Target("weightings", st.tuples(options_of(WEIGHTINGS), responses()), check_weights, (ValueError,)),
    Target("losses", losses(), check_losses),
)
