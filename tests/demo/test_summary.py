"""The report at the end: accuracies, seconds, picture, and the log's last words after a failure."""

from __future__ import annotations

import io
import json
from pathlib import Path

import matplotlib.image
import pytest
from rich.console import Console

from verl_nthr.demo.figure import write_figure
from verl_nthr.demo.logs import last_lines
from verl_nthr.demo.metrics import Step
from verl_nthr.demo.summary import Summary, accuracies, render_summary, seconds_by_phase, write_summary
from verl_nthr.errors import InputError
from verl_nthr.supported import PACKAGES, versions

ACCURACY = "val-core/worked_addition/acc/mean@1"
STEPS = [
    Step(0, {ACCURACY: 0.4}),
    Step(1, {"critic/score/mean": 0.3, "timing_s/gen": 5.0, "timing_s/old_log_prob": 1.0, "timing_s/step": 9.0}),
    Step(
        2, {"critic/score/mean": 0.5, "timing_s/gen": 4.0, "timing_s/adv": 0.5, "timing_s/testing": 3.0, ACCURACY: 0.7}
    ),
]
MEASURED = {"set-up": 2.0, "warm-up": 60.0, "start-up": 50.0, "validation": 4.0}


def test_accuracies() -> None:
    assert accuracies(STEPS) == (0.4, 0.7)
    for steps, seen in ((STEPS[:2], "steps 0;"), (STEPS[1:], "steps 2;"), ([], "steps none;")):
        with pytest.raises(InputError, match=seen):
            accuracies(steps)


def test_seconds_add_up() -> None:
    seconds = seconds_by_phase(MEASURED, 150.0, STEPS)
    total = seconds.pop("total")
    assert total == 150.0 == pytest.approx(sum(seconds.values()))
    assert (seconds["generation"], seconds["log-prob"], seconds["advantage"]) == (9.0, 1.0, 0.5)
    assert (seconds["validation"], seconds["warm-up"], seconds["start-up"]) == (7.0, 60.0, 50.0)
    assert seconds["other"] == pytest.approx(150 - 2 - 60 - 50 - 9 - 1 - 0.5 - 7)


def test_summary_file_and_table(tmp_path: Path) -> None:
    summary = Summary("nthr", 3, 2, 1, 0.4, 0.7, seconds_by_phase(MEASURED, 150.0, STEPS), 7.5, versions())
    write_summary(summary, tmp_path / "summary.json")
    stored = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (stored["accuracy_before"], stored["accuracy_after"], stored["seconds"]["total"]) == (0.4, 0.7, 150.0)
    assert set(stored["versions"]) == {"python", *PACKAGES}
    output = io.StringIO()
    Console(file=output, width=100).print(render_summary(summary, {"page": "[red]/tmp/x"}))
    for text in ("40.0%", "70.0%", "+30.0 pp", "generation", "150.0", "7.5 GB", "page: [red]/tmp/x"):
        assert text in output.getvalue()


@pytest.mark.parametrize("eased", [None, 0.1])
def test_picture(tmp_path: Path, eased: float | None) -> None:
    extra = {} if eased is None else {"nthr/eased_fraction": eased}
    steps = [Step(step.number, step.data | (extra if step.number else {})) for step in STEPS]
    write_figure(steps, tmp_path / "reward.png", "a $title_")
    height, width = matplotlib.image.imread(tmp_path / "reward.png").shape[:2]
    assert width > 800
    assert (height > 600) is (eased is not None)


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    assert last_lines(log) == []
    log.write_bytes(
        b"\x1b[36m(TaskRunnerV1 pid=12)\x1b[0m ValueError: the cause\n"
        b"\x1b[33m(raylet)\x1b[0m WARNING: many processes\n"
        + b"".join(b"  line %d\n" % i for i in range(50))
        + b"(pid=3, ip=1.2.3.4) last \xff\n(TaskRunnerV1 pid=12) Training Progress: 1%\rTraining Progress: 2%\n\n"
    )
    lines = last_lines(log, limit=5)
    assert lines == ["ValueError: the cause", "  line 47", "  line 48", "  line 49", "last \ufffd"]
