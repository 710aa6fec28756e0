"""Files of odd records and damaged bytes: refused with a documented error, or read whole."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.fuzzing.inputs import fuzzed, json_lines, may_refuse
from verl_nthr.demo.display import step_line
from verl_nthr.demo.metrics import MetricsTail
from verl_nthr.demo.summary import seconds_by_phase
from verl_nthr.errors import InputError
from verl_nthr.evaluation.settings import Settings
from verl_nthr.evaluation.summary import Group, summarise
from verl_nthr.generation.prompts import Prompt
from verl_nthr.generation.records import Records
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.heatmap.report import print_report
from verl_nthr.probe import groups as probe_groups
from verl_nthr.probe.stored import read_stored


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


PER_TOKEN = ("tokens", "token_ids", "mask", "log_probs", "entropies", "scores", "weights")
number = st.one_of(st.none(), st.sampled_from((0, 0.0, -1.5, 3.4e38, -3.4e38, 1e-320)), st.floats(-1e3, 1e3))
weight = st.sampled_from((0.0, 0.5, 1, 1.0, 3.4e38))
token = st.tuples(st.text(max_size=3), st.integers(0, 9), st.integers(0, 1), number, number, number, weight)


@st.composite
def dump_records(draw: st.DrawFn) -> dict[str, Any]:
    """A response of a token dump."""
    rows = draw(st.lists(token, max_size=4))
    columns = dict(zip(PER_TOKEN, map(list, zip(*rows, strict=True)) if rows else [[]] * 7, strict=True))
    correct = draw(st.booleans())
    group = {"schema": 2, "step": 7, "uid": "g", "prompt": "1+1=?", "tau": draw(number), "eta": 0.5}
    response = {"response_index": draw(st.integers(0, 3)), "response": "".join(columns["tokens"]), "advantage": 0.75}
    return columns | group | response | {"reward": float(correct), "correct": correct, "success_rate": 0.5}


class Page(HTMLParser):
    """The scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += [""] * (tag == "script")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@fuzzed(100)
@given(json_lines(dump_records()))
def test_a_token_dump_makes_a_page_of_two_scripts_with_strict_json(tmp_path: Path, content: bytes) -> None:
    page = tmp_path / "page.html"
    with may_refuse(InputError):
        summary = write_heatmap([written(tmp_path / "7.jsonl", content)], page, "title")
        data, _ = Page(page.read_text(encoding="utf-8")).scripts
        (step,) = json.loads(data, parse_constant=lambda name: 1 / 0)["steps"]
        assert sum(len(group["responses"]) for group in step["groups"]) == summary.responses
        json.dumps(asdict(summary), allow_nan=False)
        print_report(summary, Console(file=io.StringIO()))


MADE_WITH = b'{"model": "m"}\n'
GROUP = {"responses": ["so 3"], "tokens": [3], "rewards": [1.0]}
PROBED = {"name": "0", "prompt": [1, 2], "responses": [[3], [4, 5]], "rewards": [1.0, 0.0]}
VERLS = {"input": "1+1=?", "output": "2", "gts": "2", "score": 1.0, "step": 3, "uid": "abc_0_0"}
METRICS = {"step": 1, "data": {"critic/score/mean": 0.5, "timing_s/step": 2.0, "val-core/x/acc/mean@1": 0.5}}
CHAT = [{"role": "user", "content": "1+1=?"}]


class Tokenizer:
    """One token per character, and a template that is the message's text."""

    chat_template = "{{ messages }}"
    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [*map(ord, text)]

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: list[dict[str, Any]], **_: bool) -> str:
        return "".join(str(message["content"]) for message in messages)


@fuzzed()
@given(json_lines(GROUP))
def test_stored_groups_can_be_summarised(tmp_path: Path, content: bytes) -> None:
    with may_refuse(InputError):
        path = written(tmp_path / "groups.jsonl", MADE_WITH + content)
        groups = Records(path, Group, {"model": "m"}).entries
        if groups:
            json.dumps(summarise({"b": {"greedy": groups}}, Settings()), allow_nan=False)


@fuzzed()
@given(json_lines(PROBED), json_lines(dump_records(), VERLS), st.booleans())
def test_groups_have_a_reward_for_each_response(tmp_path: Path, content: bytes, stored: bytes, with_data: bool) -> None:
    path, prompts = tmp_path / "groups.jsonl", [Prompt(0, CHAT, "toy", "2", {})] if with_data else None
    for file, read in (
        (MADE_WITH + content, lambda: Records(path, probe_groups.Group, {"model": "m"}).entries),
        (stored, lambda: read_stored(path, Tokenizer(), prompts, 8)),
    ):
        written(path, file)
        with may_refuse(InputError):
            for group in read():
                assert len(group.correct(0.5)) == len(group.responses)
                assert all(isinstance(token, int) for response in group.responses for token in response)
                json.dumps(group.model_dump(), allow_nan=False)


@fuzzed()
@given(json_lines(METRICS))
def test_metrics_can_be_shown_and_added_up(tmp_path: Path, content: bytes) -> None:
    with may_refuse(InputError):
        steps = MetricsTail(written(tmp_path / "metrics.jsonl", content)).read_new()
        assert all(step_line(step, 20).isprintable() for step in steps)
        seconds_by_phase({"validation": 1.0}, 5.0, steps)
