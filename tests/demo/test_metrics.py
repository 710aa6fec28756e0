"""The reader of verl's metrics, and what is shown of a step."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.families import wrong_refusals
from verl_nthr.demo.display import TrainingDisplay, step_line
from verl_nthr.demo.metrics import MetricsTail, Step, parse_step
from verl_nthr.errors import InputError

VALIDATION = {"val-core/worked_addition/acc/mean@1": 0.45, "val-aux/num_turns/mean": 2}
TRAINING = {
    "critic/score/mean": 0.5,
    "nthr/eased_fraction": 0.125,
    "timing_s/step": 9.25,
    "timing_s/gen": 4.0,
    "some/nan": None,
    "text": "x",
    "flag": True,
}


def line(step: int, data: dict[str, object]) -> str:
    return json.dumps({"step": step, "data": data}) + "\n"


def test_a_step() -> None:
    step = parse_step(line(3, TRAINING), "FILE:1")
    assert (step.number, step.reward, step.eased, step.accuracy) == (3, 0.5, 0.125, None)
    assert (step.seconds("gen"), step.seconds("adv")) == (4.0, 0.0)
    assert {"some/nan", "text", "flag"}.isdisjoint(step.data)
    assert parse_step(line(0, VALIDATION), "FILE:1").accuracy == 0.45
    assert parse_step(line(0, {"critic/score/mean": 10**400, "x": 1}), "FILE:1").data == {"x": 1.0}


def test_wrong_lines_are_named() -> None:
    cases: list[tuple[str, tuple[str, ...]]] = [
        ("{", ()),
        ("[1]", ()),
        ("[" * 100_000, ()),
        ('{"step": ' + "9" * 5000 + "}", ()),
        ('{"step": 1}', ("'data'",)),
        ('{"data": {}}', ("'step'",)),
        ('{"step": "1", "data": {}}', ("'step'", "integer", "'1'")),
        ('{"step": true, "data": {}}', ("'step'", "integer", "True")),
        ('{"step": 1' + "0" * 400 + ', "data": {}}', ("'step'",)),
        ('{"step": 1, "data": []}', ("'data'", "[]")),
    ]
    tried = [(line, ("FILE:1", *facts)) for line, facts in cases]
    assert wrong_refusals(lambda line: parse_step(line, "FILE:1"), tried) == []


def test_following_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert not tail.exists
    assert tail.read_new() == []
    text = line(0, VALIDATION) + line(1, TRAINING)
    seen: list[int] = []
    for end in range(len(text) + 1):
        path.write_text(text[:end], encoding="utf-8")
        new = [step.number for step in tail.read_new()]
        assert not new or text[end - 1] == "\n"
        seen += new
    assert seen == [0, 1]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + line(2, {}) + "broken\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl:5 is no JSON"):
        tail.read_new()


def test_the_line_of_a_step() -> None:
    assert step_line(Step(3, {}), 20) == "step  3/20"
    both = parse_step(line(20, TRAINING | VALIDATION), "x")
    assert step_line(both, 20) == (
        "step 20/20  reward 0.500  tokens eased 12.5%  9.2 s  greedy accuracy on unseen prompts 45.0%"
    )


def test_the_display_tells_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    output = io.StringIO()
    display = TrainingDisplay(Console(file=output, width=120), MetricsTail(path), 2)
    with display.bar:
        assert display.progress() is False
        assert display.started is None
        path.touch()
        assert display.progress() is True
        assert display.progress() is False
        path.write_text(line(0, VALIDATION) + line(1, TRAINING), encoding="utf-8")
        assert display.progress() is True
        assert display.progress() is False
    assert [step.number for step in display.steps] == [0, 1]
    assert display.started is not None
    assert display.first_line is not None
    assert 0 <= display.started <= display.first_line
    assert "step 1/2  reward 0.500  tokens eased 12.5%" in output.getvalue()
