"""Tables against hand-computed text, and what the figures hold."""

from __future__ import annotations

import io
import re

import matplotlib.image
import pytest
from rich.console import Console

from tests.evaluation.cases import document
from tests.families import failures
from tests.heatmap.records import HOSTILE
from verl_nthr.evaluation.figures import accuracy_png, pass_at_k_png
from verl_nthr.evaluation.report import grids
from verl_nthr.tables import markdown, print_grids
from verl_nthr.text import label

# Wilson's intervals of 3/30, 12/30, 10/40 and 25/40 by their formula; averages by hand; Pass@2 of 2 correct among 4
# samples is 1 − 1/6, of 15 of 30 prompts 41.7 %
GOLDEN = """\
**Greedy accuracy, % (95 % interval)**

| model | AIME24 | AMC23 | Avg. |
| --- | ---: | ---: | ---: |
| base | 10.0 (3.5–25.6) | 25.0 (14.2–40.2) | 17.5 (11.2–28.4) |
| nthr, step 40 | 40.0 (24.6–57.7) | 62.5 (47.0–75.8) | 51.2 (40.3–62.3) |

**Pass@K, %: average of 2 benchmarks**

| model | K=1 | K=2 | K=4 |
| --- | ---: | ---: | ---: |
| base | 16.2 | 27.1 | 32.5 |
| nthr, step 40 | 25.0 | 41.7 | 50.0 |

**Pass@K, %: AIME24 (30 prompts, 4 samples each at temperature 1)**

| model | K=1 | K=2 | K=4 |
| --- | ---: | ---: | ---: |
| base | 20.0 | 33.3 | 40.0 |
| nthr, step 40 | 25.0 | 41.7 | 50.0 |

**Pass@K, %: AMC23 (40 prompts, 4 samples each at temperature 1)**

| model | K=1 | K=2 | K=4 |
| --- | ---: | ---: | ---: |
| base | 12.5 | 20.8 | 25.0 |
| nthr, step 40 | 25.0 | 41.7 | 50.0 |
"""


def test_the_tables() -> None:
    assert markdown(grids(document([("base", None, [3, 10], [12, 10]), ("nthr", 40, [12, 25], [15, 20])]))) == GOLDEN


def check_hostile_names(text: str) -> None:
    steps = [(text, step, [step // 4, 10], [3, 4]) for step in (20, 40)]
    hostile = document([("_base", None, [3, 10], [3, 4]), *steps])
    hostile["benchmarks"][0]["title"] = text
    plain = markdown(grids(document([("base", None, [3, 10], [3, 4]), *(("x", *step[1:]) for step in steps)])))
    shown = markdown(grids(hostile))
    assert [line.count("|") for line in shown.splitlines()] == [line.count("|") for line in plain.splitlines()]
    assert not set(shown.replace("\n", "")) & set("<>`_[]!$\\")
    assert shown.replace("\n", "").isprintable()
    assert len(shown) < 20_000
    terminal = io.StringIO()
    print_grids(grids(hostile), Console(file=terminal, width=400, force_terminal=True, color_system=None))
    assert label(text) in terminal.getvalue()
    assert re.sub(r"\x1b\[\d*m|\n", "", terminal.getvalue()).isprintable()


def test_hostile_names_are_text_everywhere() -> None:
    assert failures(check_hostile_names, [*HOSTILE, "x" * 1_000_000]) == []


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_can_be_drawn() -> None:
    drawn = document([("_base", None, [3, 10], [3, 4]), *((r"$\foo{$", step, [3, 4], [3, 4]) for step in (20, 40))])
    for benchmark, title in zip(drawn["benchmarks"], (r"$\frac{$", "\ud800" * 9999), strict=True):
        benchmark["title"] = title
    assert (accuracy_png(drawn) or b"").startswith(b"\x89PNG")


def test_a_lone_benchmark_has_no_average() -> None:
    alone = document([("base", None, [3, 10], [12, 10])])
    alone["benchmarks"] = alone["benchmarks"][:1]
    assert "Avg." not in markdown(grids(alone))
    assert "average of" not in markdown(grids(alone))


def test_steps_of_a_model_are_a_curve() -> None:
    steps = [("nthr", step, [step // 4, 10], [3, 4]) for step in (40, 20)]
    png = accuracy_png(document([("base", None, [3, 10], [3, 4]), *steps]))
    assert png is not None
    # three panels side by side, none of them empty
    image = matplotlib.image.imread(io.BytesIO(png))
    assert image.shape[1] == 3 * 440
    for panel in range(3):
        width = image.shape[1] // 3
        assert (image[:, panel * width : (panel + 1) * width, :3] < 0.5).any(axis=2).mean() > 0.005


@pytest.mark.parametrize("models", [[("base", None)], [("grpo", 10), ("nthr", 10)]])
def test_without_steps_there_is_no_curve(models: list[tuple[str, int | None]]) -> None:
    assert accuracy_png(document([(*model, [3, 10], [3, 4]) for model in models])) is None


def test_pass_at_k_needs_samples() -> None:
    drawn = document([("base", None, [3, 10], [3, 4])])
    assert (pass_at_k_png(drawn) or b"").startswith(b"\x89PNG")
    drawn["settings"] = {**drawn["settings"], "samples": 0}
    assert pass_at_k_png(drawn) is None
