"""The check of a cluster's nodes, with Ray's list of them standing in."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import ray

from verl_nthr.errors import InputError
from verl_nthr.inspection import Inspection
from verl_nthr.recipes import cluster
from verl_nthr.supported import versions


def node(name: str, gpus: float, alive: bool = True) -> dict[str, object]:
    return {"NodeManagerHostname": name, "NodeManagerAddress": "10.0.0.1", "Alive": alive, "Resources": {"GPU": gpus}}


def test_nodes_that_come_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([[node("a", 8.0)], [node("a", 8.0), node("b", 8.0, alive=False)], [node("a", 8.0), node("c", 8.0)]])
    monkeypatch.setattr(ray, "nodes", lambda: next(states))
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.0)
    assert [found["NodeManagerHostname"] for found in cluster.wait_for_nodes(2, 8, seconds=60)] == ["a", "c"]


def test_nodes_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [node("a", 8.0), node("b", 4.0), node("c", 8.0, alive=False)])
    with pytest.raises(InputError, match=r"1 of 2 nodes with 8 GPUs after 0 s; the cluster has a .* b .*\(4 GPUs\)"):
        cluster.wait_for_nodes(2, 8, seconds=0)


def test_what_is_wrong_with_a_node() -> None:
    for inspection, problem in (
        (Inspection(loaded={"nthr": True}, status={"estimator nthr": True}), None),
        (Inspection(import_error="verl is not installed"), "verl is not installed"),
        (Inspection(loaded={"nthr": False}), "verl does not load NTHR (no entry point)"),
        (Inspection(loaded={"nthr": True}, errors={"nthr": "ImportError: wrapt"}), "ImportError: wrapt"),
        (
            Inspection(loaded={"nthr": True}, status={"estimator nthr": False}),
            "verl does not load NTHR (estimator nthr)",
        ),
    ):
        assert cluster._problem(asdict(inspection), versions()) == problem


def test_another_version_on_a_node() -> None:
    good = asdict(Inspection(loaded={"nthr": True}))
    assert cluster._problem(good, versions() | {"verl": "0.8.0"}) == f"verl 0.8.0 instead of {versions()['verl']}"
