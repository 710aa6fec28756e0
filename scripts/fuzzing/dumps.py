"""Token dumps, the page and the summaries made of them, and the text on the way there."""

from __future__ import annotations

import io
import json
import unicodedata
from html.parser import HTMLParser
from typing import Any

from hypothesis import strategies as st
from rich.console import Console

from fuzzing.json_text import Lines, changed, damages, odd_values, written
from fuzzing.target import Target
from verl_nthr.demo.logs import last_lines
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.heatmap.report import print_report, to_json
from verl_nthr.heatmap.text import labels
from verl_nthr.heatmap.token_dump import DumpError
from verl_nthr.text import INVISIBLE, file_name, for_figure, for_markdown, on_one_line, shortened

PER_TOKEN = ("tokens", "token_ids", "mask", "log_probs", "entropies", "scores", "weights")


def _record(index: int, correct: bool, rows: list[tuple[Any, ...]], tau: float | None) -> dict[str, Any]:
    columns = dict(zip(PER_TOKEN, map(list, zip(*rows, strict=True)) if rows else [[]] * 7, strict=True))
    return columns | {
        "schema": 2,
        "step": 7,
        "uid": "g",
        "response_index": index,
        "prompt": "1+1=?",
        "response": "".join(columns["tokens"]),
        "reward": float(correct),
        "correct": correct,
        "advantage": 0.75,
        "tau": tau,
        "eta": 0.5,
        "success_rate": 0.5,
    }


number = st.one_of(st.none(), st.sampled_from((0, 0.0, -1.5, 3.4e38, -3.4e38, 1e-320)), st.floats(-1e3, 1e3))
weight = st.sampled_from((0.0, 0.5, 1, 1.0, 3.4e38))
token = st.tuples(st.text(max_size=3), st.integers(0, 9), st.integers(0, 1), number, number, number, weight)
record = st.builds(_record, st.integers(0, 3), st.booleans(), st.lists(token, max_size=4), number)
record_with_changes = st.one_of(record, record.flatmap(changed))


dumps = st.builds(Lines, st.lists(record_with_changes, min_size=1, max_size=4), damages)


class _Data(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts = 0
        self.json = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and self.scripts == 1:
            self.json += data


def check_dump(dump: Lines) -> None:
    """A dump that is read makes a page of two scripts with strict JSON, and summaries of finite numbers."""
    path = written("7.jsonl", dump.content)
    page = path.with_name("page.html")
    summary = write_heatmap([path], page, "title")
    read = _Data(page.read_text(encoding="utf-8"))
    assert read.scripts == 2
    (step,) = json.loads(read.json, parse_constant=lambda name: 1 / 0)["steps"]
    assert sum(len(group["responses"]) for group in step["groups"]) == summary.responses
    json.dumps(to_json(summary), allow_nan=False)
    print_report(summary, Console(file=io.StringIO()))


def check_text(texts: list[str]) -> None:
    """What is shown is visible and can be written; a name of a file is one."""
    for text in texts:
        name = file_name(text)
        assert "/" not in name
        assert name.strip(".")
        for shown in (on_one_line(text), for_figure(text), for_markdown(text), name):
            assert not {unicodedata.category(character) for character in shown} & INVISIBLE
            shown.encode()
        assert len(shortened(text, 20)) <= max(len(text), 25)
    if texts:
        assert not {unicodedata.category(character) for label in labels(texts) for character in label} & INVISIBLE
    last_lines(written("log", "\n".join(texts).encode(errors="replace")))


TARGETS = (
    Target("token_dumps", dumps, check_dump, (DumpError,), share=4.0),
    Target("text", st.lists(st.one_of(st.text(), odd_values.map(str)), max_size=3), check_text),
)
