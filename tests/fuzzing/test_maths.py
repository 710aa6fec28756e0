"""The public functions and rules on tensors and options of any kind: a refusal, or a result that keeps its promises."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing.inputs import FLOATS, INTEGERS, fuzzed, may_refuse, numbers, odd_tensors, seeds, specials, values
from verl_nthr import nthr_weights, thr_weights
from verl_nthr.advantages import RULES, GroupRewards
from verl_nthr.losses.llds import llds
from verl_nthr.losses.positive_nll import positive_nll
from verl_nthr.weighting import WEIGHTINGS, Responses

TENSORS = ("hidden", "token_ids", "log_probs", "response", "group", "correct", "unembedding", "bias")
ODD = dict.fromkeys(("beta", "vocabulary", "eta", "rho"), numbers) | {"temperature": st.one_of(numbers, odd_tensors)}


@st.composite
def batches(draw: st.DrawFn, option: str) -> dict[str, Any]:
    """Arguments of ``nthr_weights`` or ``thr_weights``, up to two of them odd; ``option`` is ``eta`` or ``rho``."""
    responses, vocabulary, hidden_size = (draw(st.integers(low, high)) for low, high in ((0, 5), (1, 6), (0, 4)))
    response = draw(st.lists(st.integers(0, responses - 1), max_size=8)) if responses else []
    tokens, seed, dtype = len(response), draw(seeds), draw(st.sampled_from(FLOATS))
    scale = draw(st.sampled_from((1.0, 1.0, 0.0, 1e-20, 100.0, 1e20)))
    token_ids = torch.randint(vocabulary, (tokens,), generator=torch.Generator().manual_seed(seed))
    per_response = {"min_size": responses, "max_size": responses}
    arguments: dict[str, Any] = {
        "hidden": values((tokens, hidden_size), seed, draw(specials), scale).to(dtype),
        "token_ids": token_ids.to(draw(st.sampled_from(INTEGERS))),
        "log_probs": -values((tokens,), seed, draw(specials), scale).abs() if draw(st.booleans()) else None,
        "response": torch.tensor(response, dtype=torch.int64),
        "group": torch.tensor(draw(st.lists(st.integers(-1, 3), **per_response)), dtype=torch.int64),
        "correct": torch.tensor(draw(st.lists(st.booleans(), **per_response)), dtype=torch.bool),
        "unembedding": values((vocabulary, hidden_size), seed + 1, draw(specials), scale).to(dtype),
        "vocabulary": draw(st.sampled_from(("response", "full"))),
        "anchor_includes_self": draw(st.booleans()),
        "beta": draw(st.sampled_from((1.0, 0.0, -1.0, -torch.inf))),
    }
    for name in draw(st.lists(st.sampled_from((*TENSORS, "temperature", "beta", "vocabulary", option)), max_size=2)):
        arguments[name] = draw(ODD.get(name, odd_tensors))
    return arguments


@fuzzed(200)
@given(batches("eta"))
def test_nthr_weights_are_one_or_eta_on_selected_tokens_of_wrong_answers(arguments: dict[str, Any]) -> None:
    with may_refuse(ValueError, IndexError):
        result = nthr_weights(**arguments)
        response, group, correct = (arguments[name] for name in ("response", "group", "correct"))
        assert result.weight.shape == result.selected.shape == result.scores.shape == (len(response),)
        assert result.anchors.shape == (len(group),)
        assert result.weight.dtype == torch.float32
        assert ((result.weight >= 0) & (result.weight <= 1)).all()
        assert (result.weight[~result.selected] == 1.0).all()
        of_selected = response.long()[result.selected]
        assert not correct[of_selected].any()
        assert (result.weight[result.selected] == result.eta[group.long()[of_selected]]).all()


@fuzzed(150)
@given(batches("rho"))
def test_thr_weights_are_zero_one_or_one_and_rho(arguments: dict[str, Any]) -> None:
    with may_refuse(ValueError, IndexError):
        result = thr_weights(**arguments)
        assert result.weight.shape == result.scores.shape == (len(arguments["response"]),)
        assert result.anchors.shape == (len(arguments["group"]),)
        rho = float(arguments.get("rho", 0.1))
        allowed = torch.tensor([0.0, 1.0, 1.0 + rho, 1.0 - rho])
        assert torch.isclose(result.weight[:, None], allowed).any(1).all()


def options_of(kinds: dict[str, type]) -> st.SearchStrategy[tuple[type, dict[str, Any]]]:
    """A rule, and one of its options with any value, or none."""

    def with_options(kind: type) -> st.SearchStrategy[tuple[type, dict[str, Any]]]:
        names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
        chosen = st.dictionaries(st.sampled_from(names), numbers, max_size=1) if names else st.just({})
        return st.tuples(st.just(kind), chosen)

    return st.sampled_from(list(kinds.values())).flatmap(with_options)


ROWS = st.tuples(
    st.one_of(st.sampled_from((0.0, 1.0)), st.floats(-(2.0**127), 2.0**127, width=32)),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from((0.0, -1e-8, -0.5, -20.0, -1e4, -3e38)),
    st.sampled_from((1, 2, 7, 4000, 10**6)),
)
"""Reward, correct, group, log-prob and length of a response."""


@fuzzed()
@given(options_of(RULES), st.lists(ROWS, max_size=8))
def test_advantages_are_finite_and_zero_where_a_response_is_dropped(
    rule_and_options: tuple[type, dict[str, Any]], rows: list[tuple[Any, ...]]
) -> None:
    dtypes = (torch.float32, torch.bool, torch.int64, torch.float32, torch.int64)
    columns = zip(*rows, strict=True) if rows else [[]] * 5
    batch = GroupRewards(*(torch.tensor(column, dtype=dtype) for column, dtype in zip(columns, dtypes, strict=True)))
    kind, options = rule_and_options
    with may_refuse(ValueError):
        rule = kind(**options)
        advantages = rule(batch)
        assert (advantages.shape, advantages.dtype) == (batch.rewards.shape, torch.float32)
        assert advantages.isfinite().all()
        assert (advantages[~rule.keeps(batch)] == 0.0).all()


@st.composite
def responses(draw: st.DrawFn) -> Responses:
    """Scores and thresholds of any value; padding rows have none."""
    shape = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    seed, rate = draw(seeds), draw(st.sampled_from((0.25, 0.5, torch.nan)))
    score = values(shape, seed, draw(specials)).float()
    return Responses(
        advantage=values(shape, seed + 1, []).float(),
        score=score if rate == rate else torch.full_like(score, torch.nan),
        threshold=values(shape[:1], seed + 2, draw(specials)).float(),
        correct=values(shape[:1], seed + 3, []) > 0,
        success_rate=torch.full(shape[:1], rate),
        seed=seed,
    )


@fuzzed()
@given(options_of(WEIGHTINGS), responses())
def test_token_weights_are_finite_and_below_two(
    rule_and_options: tuple[type, dict[str, Any]], batch: Responses
) -> None:
    kind, options = rule_and_options
    with may_refuse(ValueError):
        rule = kind(**options)
        weights = rule.weights(batch)
        assert weights.shape == rule.selected(batch).shape == rule.candidates(batch).shape == batch.score.shape
        assert ((weights >= 0) & (weights < 2)).all()


@fuzzed()
@given(st.data())
def test_loss_terms_ignore_whatever_stands_outside_of_the_mask(data: st.DataObject) -> None:
    shape = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 4))
    seed = data.draw(seeds)
    mask, chosen = values(shape, seed, []) > 0, values(shape[:1], seed + 3, []) > 0
    new, old = (
        torch.where(mask, -values(shape, seed + i, []).abs(), values(shape, seed, data.draw(specials))).float()
        for i in (1, 2)
    )
    tokens, ranks = data.draw(st.sampled_from((0, 1, 5))), data.draw(st.sampled_from((1, 8)))
    for loss in (
        lambda log_probs: positive_nll(log_probs, mask, chosen, tokens, ranks),
        lambda log_probs: llds(log_probs, old, mask, chosen, tokens, ranks)[0],
    ):
        log_probs = new.clone().requires_grad_()
        term = loss(log_probs)
        (gradient,) = torch.autograd.grad(term, log_probs)
        assert term.isfinite()
        assert term >= 0
        assert gradient.isfinite().all()
        assert (gradient[~(mask & chosen[:, None])] == 0).all()
