"""Ray's logical resources."""

from typing import Any

import pytest

from verl_nthr.cpu.ray import around_init


def arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """What ``ray.init`` would be called with."""
    return around_init(lambda *_, **given: given, None, args, kwargs)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_counts_are_given_where_there_are_none() -> None:
    answer = arguments(address="local", num_cpus=None)
    assert answer["num_gpus"] == 8
    assert answer["num_cpus"] >= 8 * 3 + 8


def test_counts_that_are_given_are_kept() -> None:
    answer = arguments("local", num_cpus=3, num_gpus=1)
    assert (answer["num_cpus"], answer["num_gpus"]) == (3, 1)


def test_a_cluster_that_runs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments(address="192.0.2.1:6379") == {"address": "192.0.2.1:6379"}
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert arguments() == {}
