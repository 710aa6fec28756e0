"""Wrong arguments get an error that names them."""

from __future__ import annotations

import math

import pytest
import torch

from tests.influence.batches import random_batch
from verl_nthr import nthr_weights, thr_weights

LENGTH = len(random_batch(1).arguments(None)["hidden"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden": torch.zeros(3)}, ValueError, "hidden"),
        ({"hidden": torch.zeros(3, 4, dtype=torch.long)}, ValueError, "hidden"),
        ({"unembedding": torch.zeros(23, 12)}, ValueError, r"unembedding must be \[V, 11\]"),
        ({"token_ids": torch.zeros(2, dtype=torch.long)}, ValueError, "token_ids"),
        ({"correct": torch.zeros(7)}, ValueError, "correct must be bool"),
        ({"correct": torch.zeros(5, dtype=torch.bool)}, ValueError, "correct"),
        ({"log_probs": torch.zeros(3)}, ValueError, "log_probs"),
        ({"bias": torch.zeros(3)}, ValueError, "bias"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": math.nan}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"temperature must be a number or \[R\]"),
        ({"beta": math.nan}, ValueError, "beta=nan"),
        ({"beta": math.inf}, ValueError, "beta=inf"),
        ({"eta": 1.5}, ValueError, "eta=1.5"),
        ({"eta": "half"}, ValueError, "eta='half'"),
        ({"eta": True}, ValueError, "eta=True"),
        ({"vocabulary": "all"}, ValueError, "vocabulary='all'"),
        ({"beta": 10**400}, ValueError, "beta=10"),
        ({"temperature": "hot"}, ValueError, "temperature must be a number"),
        ({"temperature": None}, ValueError, "temperature must be a number"),
        ({"temperature": 10**400}, ValueError, "temperature must be a number"),
        ({"log_probs": torch.zeros(LENGTH, dtype=torch.bool)}, ValueError, "log_probs must be of a float dtype"),
        ({"bias": torch.zeros(23, dtype=torch.complex64)}, ValueError, "bias must be of a float dtype"),
        ({"hidden": torch.zeros(LENGTH, 11).to(torch.float8_e4m3fn)}, ValueError, "hidden must be"),
        ({"group": torch.tensor([0, 0, 0, 0, 0, 0, 2**40])}, IndexError, "group must be at least -1 and below 1048576"),
        ({"group": torch.tensor([0, 0, 0, 0, 0, 0, -2])}, IndexError, "group must be at least -1"),
    ],
)
def test_wrong_arguments(change: dict, error: type[Exception], message: str) -> None:
    arguments = random_batch(1).arguments(None)
    with pytest.raises(error, match=message):
        nthr_weights(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"hidden": torch.zeros(3)}, "hidden"), ({"beta": math.inf}, "beta=inf"), ({"vocabulary": "all"}, "vocabulary=")],
)
def test_wrong_arguments_of_thr(change: dict, message: str) -> None:
    arguments = random_batch(1).arguments(None)
    with pytest.raises(ValueError, match=message):
        thr_weights(**(arguments | change))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_indices_of_every_integer_dtype(dtype: torch.dtype) -> None:
    arguments = random_batch(1).arguments(None)
    arguments["group"] = arguments["group"].clamp(min=0)
    names = ("token_ids", "response", "group")
    found = nthr_weights(**(arguments | {name: arguments[name].to(dtype) for name in names}))
    expected = nthr_weights(**arguments)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.weight, expected.weight)


def test_indices_out_of_range() -> None:
    arguments = random_batch(1).arguments(None)
    for name, limit in (("token_ids", 23), ("response", 7)):
        wrong = arguments[name].clone()
        wrong[0] = limit
        with pytest.raises(IndexError, match=f"{name} must be at least 0 and below {limit}"):
            nthr_weights(**(arguments | {name: wrong}))
