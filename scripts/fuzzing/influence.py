"""``nthr_weights`` and ``thr_weights``: batches of any shape, dtype and range, with any option."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from fuzzing.target import Target
from fuzzing.tensors import FLOATS, INTEGERS, numbers, odd_tensors, scales, seeds, specials, values
from verl_nthr import nthr_weights, thr_weights

TENSORS = ("hidden", "token_ids", "log_probs", "response", "group", "correct", "unembedding", "bias")
ODD = dict.fromkeys(("beta", "vocabulary", "eta", "rho"), numbers) | {"temperature": st.one_of(numbers, odd_tensors)}
DOCUMENTED = (ValueError, IndexError)


@st.composite
def batches(draw: st.DrawFn, option: str) -> dict[str, Any]:
    """Arguments by name; ``option`` is that of the one function: ``eta`` or ``rho``."""
    responses = draw(st.integers(0, 5))
    vocabulary, hidden_size = draw(st.integers(1, 6)), draw(st.integers(0, 4))
    response = draw(st.lists(st.integers(0, responses - 1), max_size=8)) if responses else []
    dtype, integer, seed, scale = draw(st.tuples(st.sampled_from(FLOATS), st.sampled_from(INTEGERS), seeds, scales))
    tokens = len(response)
    token_ids = torch.randint(vocabulary, (tokens,), generator=torch.Generator().manual_seed(seed))
    several = st.lists(st.integers(-1, 3), min_size=responses, max_size=responses)
    outcomes = st.lists(st.booleans(), min_size=responses, max_size=responses)
    arguments: dict[str, Any] = {
        "hidden": values((tokens, hidden_size), seed, scale, draw(specials)).to(dtype),
        "token_ids": token_ids.to(integer),
        "log_probs": None,
        "response": torch.tensor(response, dtype=torch.int64),
        "group": torch.tensor(draw(several), dtype=torch.int64),
        "correct": torch.tensor(draw(outcomes), dtype=torch.bool),
        "unembedding": values((vocabulary, hidden_size), seed + 1, scale, draw(specials)).to(dtype),
        "vocabulary": draw(st.sampled_from(("response", "full"))),
        "anchor_includes_self": draw(st.booleans()),
        "beta": draw(st.sampled_from((1.0, 0.0, -1.0, -torch.inf))),
    }
    if draw(st.booleans()):
        arguments["log_probs"] = -values((tokens,), seed + 2, scale, draw(specials)).abs()
    for name in draw(st.lists(st.sampled_from((*TENSORS, "temperature", "beta", "vocabulary", option)), max_size=2)):
        arguments[name] = draw(ODD.get(name, odd_tensors))
    return arguments


def check_nthr(arguments: dict[str, Any]) -> None:
    """Weights are 1, or η on the tokens selected, which are of wrong answers; scores are finite where input is."""
    result = nthr_weights(**arguments)
    response, group, correct = (arguments[name] for name in ("response", "group", "correct"))
    tokens, responses = len(response), len(group)
    assert result.weight.shape == result.selected.shape == result.scores.shape == (tokens,)
    assert result.anchors.shape == (responses,)
    assert result.weight.dtype == torch.float32
    assert not result.weight.isnan().any()
    assert (result.weight[~result.selected] == 1.0).all()
    of_selected = response.long()[result.selected]
    assert not correct[of_selected].any()
    assert (result.weight[result.selected] == result.eta[group.long()[of_selected]]).all()
    assert ((result.weight >= 0) & (result.weight <= 1)).all()


def check_thr(arguments: dict[str, Any]) -> None:
    """Weights are 0, 1 or 1 ± ρ."""
    result = thr_weights(**arguments)
    assert result.weight.shape == result.scores.shape == (len(arguments["response"]),)
    assert result.anchors.shape == (len(arguments["group"]),)
    rho = float(arguments.get("rho", 0.1))
    allowed = torch.tensor([0.0, 1.0, 1.0 + rho, 1.0 - rho])
    assert torch.isclose(result.weight[:, None], allowed).any(1).all()


TARGETS = (
    Target("nthr_weights", batches("eta"), check_nthr, DOCUMENTED, share=3.0),
    Target("thr_weights", batches("rho"), check_thr, DOCUMENTED, share=2.0),
)
