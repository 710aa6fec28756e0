"""The examples in the docstrings of the public functions."""

from __future__ import annotations

import doctest

import pytest

from verl_nthr.influence import nthr, thr


@pytest.mark.parametrize("module", [nthr, thr], ids=["nthr", "thr"])
def test_examples_print_what_they_say(module) -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
