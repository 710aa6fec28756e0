"""``verl-nthr heatmap`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.heatmap.records import record, right, write_dump
from verl_nthr.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokens").mkdir()
    for step in (2, 10):
        write_dump(tmp_path / "tokens" / f"{step}.jsonl", record(step=step), right(step=step))
    return tmp_path


def test_table_and_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", "tokens"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    cells = [line.strip("│ ").split("│") for line in printed.out.splitlines()]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}
    assert rows["responses"] == ["4"]
    assert rows["steps"] == ["2"]
    assert rows["of them spared"] == ["2  (33.3 %)"]
    assert rows["'so'"] == ["2", "2", "100.0 %"]
    assert printed.out.endswith("page: tokens.html\n")
    assert "<title>Token scores of tokens</title>" in (folder / "tokens.html").read_text(encoding="utf-8")


def test_json_steps_title_and_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["heatmap", "tokens", "--steps", "1,3-10", "--json", "--title", "a < b", "--out", "pages/x.html"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["steps"] == [{"tokens": 3, "spared": 1, "share": 1 / 3, "step": 10}]
    assert (summary["responses"], summary["groups"], summary["mixed_groups"]) == (2, 1, 1)
    assert summary["selected_fraction"] == 1 / 3
    assert summary["most_spared"] == [{"tokens": 1, "spared": 1, "share": 1.0, "text": "so"}]
    assert set(summary["histograms"]) == {"wrong", "right"}
    assert [len(summary[name]) for name in ("by_position", "by_entropy")] == [10, 10]
    assert "<title>a &lt; b</title>" in (folder / "pages" / "x.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.jsonl is empty"),
        ("\n", "bad.jsonl:1 is no strict JSON"),
        (json.dumps(record())[:100], "bad.jsonl:1 is no strict JSON (Unterminated string"),
        (json.dumps(record()) + "\n" + json.dumps(right())[:50], "bad.jsonl:2 is no strict JSON"),
        (json.dumps(record(schema=1)), "bad.jsonl:1 has schema 1, this version reads 2"),
        (json.dumps(record(scores=[float("nan")] * 3)), "NaN is not JSON"),
        (json.dumps(record()) + "\n" + json.dumps(right(step=8)), "bad.jsonl has records of several steps: 7, 8"),
        (json.dumps({"input": "verl's own dump", "output": "", "score": 1}), "bad.jsonl:1 has no 'schema'"),
        ("\x00\x01", "bad.jsonl:1 is no strict JSON"),
    ],
)
def test_bad_input_gives_one_message_and_no_page(
    content: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jsonl").write_text(content, encoding="utf-8")
    assert main(["heatmap", "tokens", "bad.jsonl"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("verl-nthr heatmap: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["bad.jsonl", "tokens"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing does not exist"),
        (["."], "has no <step>.jsonl"),
        (["tokens", "--steps", "3-9"], "has none of these steps; it has 2 to 10"),
        (["tokens", "tokens"], "are both of step 2"),
        (["tokens", "--out", "tokens"], "tokens"),
        (["tokens", "--out", "tokens/2.jsonl/page.html"], "tokens/2.jsonl"),
    ],
)
def test_what_cannot_be_done_ends_with_1(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["heatmap", *arguments]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(path.name for path in folder.rglob("*")) == ["10.jsonl", "2.jsonl", "tokens"]


@pytest.mark.parametrize("steps", ["x", "1-", "1,,2", "-3"])
def test_wrong_steps_end_with_2(steps: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["heatmap", "tokens", f"--steps={steps}"])
    assert stop.value.code == 2
    assert "is neither a step nor a range of steps" in capsys.readouterr().err
