"""The token dump of a batch: what is written is what its reader reads, and what the columns hold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from tests.heatmap.records import HOSTILE
from verl_nthr.heatmap.token_dump import read_step
from verl_nthr.integration.driver.groups import group_responses
from verl_nthr.integration.driver.token_dump import COLUMNS, response_records, write_step

NAN, INF = math.nan, math.inf
KEYS = ["b_0_0", "a_1_0", "pad_0_0", "a_0_0"]
ROWS = {
    "prompts": [[1, 2], [3], [0], [3]],
    "responses": [[4, 5, 6], [4], [0], [5, 6]],
    "response_mask": [[1, 0, 1], [1], [0], [1, 1]],
    "rm_scores": [[0.0, 0.0, 0.25], [1.0], [0.0], [0.0, 0.0]],
    "old_log_probs": [[-1.0, -2.0, -3.0], [-4.0], [0.0], [-5.0, -INF]],
    "entropy": [[0.5, 1.5, 2.5], [3.5], [0.0], [4.5, NAN]],
    "returns": [[-0.5, 0.0, -0.5], [0.75], [0.0], [-0.75, -0.75]],
    "nthr_score": [[NAN] * 3, [9.0], [NAN], [3.0, -2.0]],
}
WEIGHTS = [torch.tensor(row) for row in ([1.0] * 3, [1.0], [1.0], [0.5, 1.0])]


class Tokenizer:
    """Spells a token as ``<id>``."""

    def decode(self, ids: list[int]) -> str:
        return "".join(f"<{token}>" for token in ids)


def test_a_step_of_several_updates_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "7.jsonl").write_text("of an earlier run\n")
    for update in range(3):
        path = write_step(tmp_path, 7, iter([{"update": update}]), append=update > 0)
    assert path.read_text() == '{"update": 0}\n{"update": 1}\n{"update": 2}\n'
    with pytest.raises(ValueError, match="Out of range"):
        write_step(tmp_path, 7, iter([{"update": 3}, {"update": NAN}]), append=True)
    assert path.read_text().count("update") == 3


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    folder = tmp_path / "dump"
    folder.mkdir()
    for name in ("7.jsonl", "7.jsonl.part"):
        (folder / name).symlink_to(tmp_path / "outside")
    for update in range(2):
        path = write_step(folder, 7, iter([{"update": update}]), append=update > 0)
    assert (tmp_path / "outside").read_text() == "mine"
    assert not path.is_symlink()
    assert path.read_text() == '{"update": 0}\n{"update": 1}\n'


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_one_line_of_json(text: str, tmp_path: Path) -> None:
    content = write_step(tmp_path, 7, iter([{"tokens": [text]}])).read_bytes()
    assert content.count(b"\n") == 1
    assert not any(byte < 32 for byte in content[:-1])
    assert json.loads(content) == {"tokens": [text]}


def jagged(rows: list[list[float]]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    columns = {name: jagged(rows) for name, rows in ROWS.items()}
    columns["threshold"] = torch.tensor([NAN, 1.0, NAN, 1.0])
    assert set(columns) == set(COLUMNS)
    groups = group_responses(KEYS, [False, False, True, False], [False, True, False, False])
    batch = TensorDict(columns, batch_size=4)
    records = response_records(7, KEYS, batch, WEIGHTS, groups, 0.5, Tokenizer())
    first, second = read_step(write_step(tmp_path, 7, records))
    assert [path.name for path in tmp_path.iterdir()] == ["7.jsonl"]

    assert (first.uid, first.mixed, second.uid, second.mixed) == ("a", True, "b", False)
    wrong, right = first.responses
    assert (wrong.step, wrong.response_index, right.response_index) == (7, 0, 1)
    assert (wrong.prompt, wrong.response, wrong.tokens, wrong.token_ids) == ("<3>", "<5><6>", ["<5>", "<6>"], [5, 6])
    assert (wrong.log_probs, wrong.entropies, wrong.scores) == ([-5.0, None], [4.5, None], [3.0, -2.0])
    assert (wrong.weights, wrong.tau, wrong.eta, wrong.success_rate) == ([0.5, 1.0], 1.0, 0.5, 0.5)
    assert (wrong.correct, right.correct, right.reward, right.advantage) == (False, True, 1.0, 0.75)

    (other,) = second.responses
    assert (other.mask, other.scores, other.tau, other.eta) == ([1, 0, 1], [None] * 3, None, None)
    assert (other.entropies, other.reward, other.advantage) == ([0.5, 1.5, 2.5], 0.25, -0.5)


def test_a_weighting_without_eta_writes_none(tmp_path: Path) -> None:
    columns = {name: jagged(rows) for name, rows in ROWS.items()} | {"threshold": torch.tensor([NAN, 1.0, NAN, 1])}
    groups = group_responses(KEYS, [False, False, True, False], [False, True, False, False])
    batch = TensorDict(columns, batch_size=4)
    first, _ = read_step(write_step(tmp_path, 7, response_records(7, KEYS, batch, WEIGHTS, groups, None, Tokenizer())))
    assert [response.eta for response in first.responses] == [None, None]


def test_a_step_that_fails_leaves_no_file_that_looks_whole(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_step(tmp_path, 7, iter([{"a": 1}, {"a": NAN}]))
    assert list(tmp_path.glob("*.jsonl")) == []
