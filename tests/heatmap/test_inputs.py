"""Files that are read, and messages about those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families import wrong_refusals
from tests.heatmap.records import correct_record, record, write_dump
from verl_nthr.errors import InputError
from verl_nthr.heatmap.inputs import find_dumps, read_steps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (9, 10, 2):
        write_dump(tmp_path / f"{step}.jsonl", record(step=step), correct_record(step=step))
    return tmp_path


def test_folders_files_and_steps(folder: Path) -> None:
    def names(paths: list[Path], *steps: range) -> list[str]:
        return [file.stem for file in find_dumps(paths, steps)]

    assert names([folder]) == ["2", "9", "10"]
    assert names([folder], range(9, 10), range(10, 30)) == ["9", "10"]
    other = write_dump(folder / "other", record(step=1))
    assert names([other, folder], range(2, 3)) == ["other", "2"]
    assert [step for step, _ in read_steps(find_dumps([other, folder]))] == [1, 2, 9, 10]


def test_nothing_to_read(folder: Path) -> None:
    (folder / "empty").mkdir()
    cases = [
        ("missing", [], ("missing",)),
        ("empty", [], ("empty", "<step>.jsonl", "algorithm.nthr.token_dump_dir")),
        (".", [range(3, 9)], ("2", "10")),
    ]
    tried = [((folder / path, steps), facts) for path, steps, facts in cases]
    assert wrong_refusals(lambda given: find_dumps([given[0]], given[1]), tried) == []


def test_an_empty_file_and_a_step_twice(folder: Path) -> None:
    (folder / "11.jsonl").touch()
    with pytest.raises(InputError, match=r"11\.jsonl is empty"):
        list(read_steps([folder / "10.jsonl", folder / "11.jsonl"]))
    again = write_dump(folder / "again.jsonl", record(step=9))
    with pytest.raises(InputError, match=r"9\.jsonl and .*again\.jsonl are both of step 9: pass the dumps of one run"):
        list(read_steps([folder / "9.jsonl", again]))
