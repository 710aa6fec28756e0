"""The public functions on tensors and options of any kind: a refusal, or a result that keeps its promises."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing.inputs import FLOATS, INTEGERS, fuzzed, may_refuse, numbers, odd_tensors, seeds, specials, values
from verl_nthr import nthr_weights, thr_weights

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
