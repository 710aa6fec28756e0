"""``verl-nthr heatmap`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.heatmap.records import correct_record, record, write_dump
from verl_nthr.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokens").mkdir()
    for step in (2, 10):
        write_dump(tmp_path / "tokens" / f"{step}.jsonl", record(step=step), correct_record(step=step))
    return tmp_path


def test_table_and_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", "tokens"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    cells = [line.strip("│ ").split("│") for line in printed.out.splitlines()]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}
    assert rows["responses"] == ["4"]
    assert rows["steps"] == ["2"]
    assert rows["of them eased"] == ["2  (33.3 %)"]
    assert rows["'so'"] == ["2", "2", "100.0 %"]
    assert printed.out.endswith("page: tokens.html\n")
    assert "<title>Token scores of tokens</title>" in (folder / "tokens.html").read_text(encoding="utf-8")


def test_json_steps_title_and_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["heatmap", "tokens", "--steps", "1,3-10", "--json", "--title", "a < b", "--out", "pages/x.html"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["steps"] == [{"tokens": 3, "eased": 1, "share": 1 / 3, "step": 10}]
    assert (summary["responses"], summary["groups"], summary["mixed_groups"]) == (2, 1, 1)
    assert summary["eased_fraction"] == 1 / 3
    assert summary["most_eased"] == [{"tokens": 1, "eased": 1, "share": 1.0, "text": "so"}]
    assert set(summary["histograms"]) == {"wrong", "correct"}
    assert [len(summary[name]) for name in ("by_position", "by_entropy")] == [10, 10]
    assert "<title>a &lt; b</title>" in (folder / "pages" / "x.html").read_text(encoding="utf-8")


def test_what_cannot_be_read_or_written_ends_with_one_message_and_no_page(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.jsonl").touch()
    (folder / "cut.jsonl").write_text(json.dumps(record()) + "\n" + json.dumps(correct_record())[:50], encoding="utf-8")
    (folder / "binary.jsonl").write_bytes(b"\x00\x01")
    before = sorted(folder.rglob("*"))
    failures = []
    for arguments, fact in (
        (["tokens", "empty.jsonl"], "empty.jsonl"),
        (["tokens", "cut.jsonl"], "cut.jsonl:2"),
        (["tokens", "binary.jsonl"], "binary.jsonl:1"),
        (["missing"], "missing"),
        (["tokens", "--steps", "3-9"], "2 to 10"),
        (["tokens", "tokens"], "step 2"),
        (["tokens", "--out", "tokens"], "tokens"),
        (["tokens", "--out", "tokens/2.jsonl/page.html"], "tokens/2.jsonl"),
    ):
        code, printed = main(["heatmap", *arguments]), capsys.readouterr()
        one_line = printed.err.startswith("verl-nthr heatmap: ") and printed.err.count("\n") == 1
        if (code, printed.out, one_line) != (1, "", True) or fact not in printed.err:
            failures.append((arguments, code, printed))
    assert failures == []
    assert sorted(folder.rglob("*")) == before


def test_wrong_steps_end_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures = []
    for steps in ("x", "1-", "1,,2", "-3"):
        with pytest.raises(SystemExit) as stop:
            main(["heatmap", "tokens", f"--steps={steps}"])
        printed = capsys.readouterr().err
        if stop.value.code != 2 or "--steps" not in printed:
            failures.append((steps, stop.value.code, printed))
    assert failures == []
