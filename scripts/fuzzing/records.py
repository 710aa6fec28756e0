"""The other files that are read: responses and rollouts as JSON lines, verl's metrics, questions as parquet."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from fuzzing.json_text import Lines, changed, damage, damages, odd_values, written
from fuzzing.target import Target
from verl_nthr.demo.display import step_line
from verl_nthr.demo.metrics import MetricsError, read_steps
from verl_nthr.demo.summary import Clock, seconds_by_phase
from verl_nthr.errors import InputError
from verl_nthr.evaluation.records import Records
from verl_nthr.evaluation.settings import Settings
from verl_nthr.evaluation.summary import summarise
from verl_nthr.generation.jsonl import recover_lines
from verl_nthr.generation.questions import Question, encode_prompt, read_questions
from verl_nthr.probe.rollouts import read_rollouts
from verl_nthr.probe.stored import read_stored

MADE_WITH = {"model": "m", "seed": 0}
ANSWER = {"responses": ["so 3"], "tokens": [3], "rewards": [1.0]}
ROLLOUT = {"question": "0", "prompt": [1, 2], "responses": [[3], [4, 5]], "rewards": [1.0, 0.0]}
DUMPED = {"step": 2, "uid": "abc", "prompt": "1+1=?", "token_ids": [9, 8], "mask": [1, 1], "reward": 0.5}
VERLS = {"input": "1+1=?", "output": "2", "gts": "2", "score": 1.0, "step": 3, "uid": "abc_0_0"}
METRICS = {"step": 1, "data": {"critic/score/mean": 0.5, "timing_s/step": 2.0, "val-core/x/acc/mean@1": 0.5}}
ROW = {
    "data_source": "toy",
    "prompt": [{"role": "user", "content": "1+1=?"}],
    "reward_model": {"ground_truth": "2"},
    "extra_info": {"index": 0},
}


class Tokenizer:
    """A token a character, and a template that is the message's text."""

    chat_template = "{{ messages }}"
    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [*map(ord, text)]

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: list[dict[str, Any]], **_: bool) -> str:
        return "".join(str(message["content"]) for message in messages)


def lines_of(*records: dict[str, Any]) -> st.SearchStrategy[Lines]:
    """Lines of these records, some of them changed, in a file that may be damaged."""
    line = st.one_of(*map(st.just, records), *(changed(record) for record in records), odd_values)
    return st.builds(Lines, st.lists(line, max_size=4), damages)


@dataclass(frozen=True)
class ParquetFile:
    """Rows as a parquet file, its bytes changed."""

    rows: list[dict[str, Any]]
    """One or more."""

    changes: list[tuple[str, int, int]]
    """For :func:`fuzzing.json_text.damage`."""

    @property
    def content(self) -> bytes | None:
        """Of the file; None for rows that parquet cannot hold."""
        buffer = io.BytesIO()
        try:
            pd.DataFrame(self.rows).to_parquet(buffer)
        except (ValueError, TypeError, OverflowError, NotImplementedError, pa.ArrowException):
            return None
        return damage(buffer.getvalue(), self.changes)


def check_lines(lines: Lines) -> None:
    """What is recovered is whole, and recovered again."""
    path = written("lines.jsonl", lines.content)
    found = recover_lines(path)
    assert repr(recover_lines(path)) == repr(found)
    assert path.read_bytes()[-1:] in (b"", b"\n")


def check_answers(lines: Lines) -> None:
    """Answers that are read can be summarised."""
    header = json.dumps(MADE_WITH).encode() + b"\n"
    answers = Records(written("answers.jsonl", header + lines.content), MADE_WITH).answers
    if answers:
        json.dumps(summarise({"b": {"greedy": answers}}, Settings()), allow_nan=False)


def check_rollouts(lines: Lines) -> None:
    """Rollouts that are read have a reward for each response."""
    for rollout in read_rollouts(written("rollouts.jsonl", lines.content)):
        assert len(rollout.correct(0.5)) == len(rollout.responses)
        assert rollout.to_json()


def check_stored(case: tuple[Lines, bool]) -> None:
    """The same of files of verl and of token dumps."""
    lines, with_data = case
    questions = [Question(0, ROW["prompt"], "toy", "2", {})] if with_data else None
    for rollout in read_stored(written("stored.jsonl", lines.content), Tokenizer(), questions, 8):
        assert len(rollout.correct(0.5)) == len(rollout.responses)
        assert all(isinstance(token, int) for response in rollout.responses for token in response)
        json.dumps(rollout.to_json(), allow_nan=False)


def check_metrics(lines: Lines) -> None:
    """Steps that are read have finite numbers."""
    found = read_steps(written("metrics.jsonl", lines.content))
    for step in found:
        assert step_line(step, 20).isprintable()
    seconds_by_phase(Clock(1, 1, 1, 1, 1, 5), found)


def check_questions(file: ParquetFile) -> None:
    """Questions that are read have prompts that can be encoded."""
    if (content := file.content) is not None:
        for question in read_questions(written("questions.parquet", content)):
            encode_prompt(Tokenizer(), question)


parquet_files = st.builds(ParquetFile, st.lists(st.one_of(st.just(ROW), changed(ROW, max_size=1)), max_size=3), damages)

TARGETS = (
    Target("jsonl", lines_of(ANSWER), check_lines, (InputError,)),
    Target("answers", lines_of(ANSWER), check_answers, (InputError,)),
    Target("rollouts", lines_of(ROLLOUT), check_rollouts, (InputError,)),
    Target("stored_rollouts", st.tuples(lines_of(DUMPED, VERLS), st.booleans()), check_stored, (InputError,)),
    Target("metrics", lines_of(METRICS), check_metrics, (MetricsError,)),
    Target("questions", parquet_files, check_questions, (InputError,)),
)
