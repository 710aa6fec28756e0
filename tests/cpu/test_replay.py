"""Actors are asked whether they live; one that does not is an error."""

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from verl_nthr.cpu import replay
from verl_nthr.cpu.replay import Probes


class Actor:
    """Answers from its life: each probe is whether it lives then."""

    def __init__(self) -> None:
        self.lives, self.asked = True, 0
        self.__ray_ready__ = SimpleNamespace(remote=self._remote)

    def _remote(self) -> bool:
        self.asked += 1
        return self.lives


def test_an_actor_that_died_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(answers: list[bool]) -> None:
        if not all(answers):
            raise ConnectionError("the actor died")

    pending: list[Any] = []
    monkeypatch.setattr(ray, "wait", lambda calls, num_returns, timeout: ([], calls) if pending else (calls, []))
    monkeypatch.setattr(ray, "get", get)
    clock = [100.0]
    monkeypatch.setattr(replay.time, "monotonic", lambda: clock[0])
    probes, actors = Probes(), [Actor(), Actor()]
    probes.actors = actors
    for _ in range(5):
        probes.check()  # asks, takes the answers, and is quiet
    assert [actor.asked for actor in actors] == [1, 1]
    actors[1].lives = False
    clock[0] += replay.PROBE_SECONDS + 1
    pending.append("an answer")
    probes.check()
    probes.check()  # nobody has answered yet
    pending.clear()
    with pytest.raises(ConnectionError, match="died"):
        probes.check()
    assert [actor.asked for actor in actors] == [2, 2]


def test_without_actors_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "wait", None)
    probes = Probes()
    for _ in range(3):
        probes.check()
