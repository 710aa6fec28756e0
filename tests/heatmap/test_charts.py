"""Axes have round numbers, and bars the height of what they stand for."""

from __future__ import annotations

import json

import pytest

from tests.heatmap.records import correct_record, record
from verl_nthr.heatmap.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, charts, linear_axis, logarithmic_axis
from verl_nthr.heatmap.columns import Vocabulary, step_of
from verl_nthr.heatmap.summary import summarise
from verl_nthr.heatmap.token_dump import Group, parse_response


@pytest.mark.parametrize(
    ("largest", "levels"),
    [
        (0.43, [0, 0.2, 0.4, 0.6]),
        (1.0, [0, 0.5, 1.0]),
        (0.0009, [0, 0.0005, 0.001]),
        (0.08, [0, 0.02, 0.04, 0.06, 0.08]),
        (0.0, [0, 0.5, 1.0]),
    ],
)
def test_linear_axis(largest: float, levels: list[float]) -> None:
    axis = linear_axis([0.0, largest])
    assert axis.levels == pytest.approx(levels)
    assert axis.fraction(levels[1]) == pytest.approx(1 / (len(levels) - 1))


@pytest.mark.parametrize(
    ("heights", "levels"),
    [([0.002, 0.9], [0.001, 0.01, 0.1, 1.0]), ([0.01, 0.1], [0.001, 0.01, 0.1]), ([1.0], [0.1, 1.0])],
)
def test_logarithmic_axis(heights: list[float], levels: list[float]) -> None:
    axis = logarithmic_axis(heights)
    assert axis.levels == pytest.approx(levels)
    assert [axis.fraction(level) for level in levels] == pytest.approx(
        [index / (len(levels) - 1) for index in range(len(levels))]
    )


def test_bars_and_labels_of_a_dump() -> None:
    vocabulary = Vocabulary()
    group = Group("g", [parse_response(json.dumps(entry), "x") for entry in (record(), correct_record())])
    wrong, _, position, entropy, training = charts(summarise([step_of(7, [group], vocabulary)], vocabulary.texts))
    assert [bar.hint for bar in position.bars] == [
        "0 % to 10 %: 1 of 1 tokens eased, 100.0 %",
        "30 % to 40 %: 0 of 1 tokens eased, 0.0 %",
        "60 % to 70 %: 0 of 1 tokens eased, 0.0 %",
    ]
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    assert [bar.x for bar in position.bars] == pytest.approx([LEFT + inner_width * tenth for tenth in (0, 0.3, 0.6)])
    assert [bar.height for bar in position.bars] == pytest.approx([inner_height, 0, 0])
    assert [tick.text for tick in position.y_ticks] == ["0 %", "50 %", "100 %"]
    assert position.y_ticks[0].at == TOP + inner_height
    assert position.y_ticks[-1].at == TOP
    assert [bar.tone for bar in wrong.bars] == ["below", "below", "above"]
    assert "τ" in [tick.text for tick in wrong.x_ticks]
    assert (training.line, training.bars[0].hint) == (True, "step 7: 1 of 3 tokens eased, 33.3 %")
    assert entropy.x_ticks[0].text == "0.12"


def test_nothing_to_draw() -> None:
    vocabulary = Vocabulary()
    group = Group("g", [parse_response(json.dumps(correct_record()), "x")])
    drawn = charts(summarise([step_of(7, [group], vocabulary)], vocabulary.texts))
    assert all(not chart.bars for chart in drawn)
