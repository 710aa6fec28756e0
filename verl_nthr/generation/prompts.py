"""Reads prompts from verl's data format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_nthr.errors import InputError
from verl_nthr.json_lines import Record, check_record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("data_source", "prompt", "reward_model")


@dataclass(frozen=True)
class Prompt:
    """One row of the data."""

    index: int
    """Row number."""

    messages: list[dict[str, Any]]
    """Of the chat."""

    data_source: str
    """Decides verl's default reward function."""

    ground_truth: Any
    """``reward_model.ground_truth``."""

    extra_info: dict[str, Any]
    """Handed to the reward function; empty where the data has none."""


def read_prompts(path: Path) -> list[Prompt]:
    """All rows of a verl parquet file.

    Raises:
        InputError: the file is missing, is not parquet, lacks a column, or a row is not what verl expects.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path} does not exist; wanted a parquet file in verl's format")
    try:
        table = pq.ParquetFile(path).read()
        missing, rows = [column for column in COLUMNS if column not in table.column_names], table.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as parquet: {error}") from error
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}; verl's format has {', '.join(COLUMNS)} and extra_info"
        )
    if not rows:
        raise InputError(f"{path} has no rows")
    return [_prompt(path, index, row) for index, row in enumerate(rows)]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of the chat up to where the response begins, as verl renders it.

    Raises:
        InputError: the tokenizer has no chat template, or it refuses the prompt.
    """
    if tokenizer.chat_template is None:
        raise InputError("MODEL's tokenizer has no chat template, with which verl renders prompts; set one and save it")
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        raise InputError(f"MODEL's chat template refuses the prompt of row {prompt.index}: {error}") from error
    return tokenizer.encode(text, add_special_tokens=False)


class _Message(Record):
    role: str
    content: str | list[Any]


class _RewardModel(Record):
    ground_truth: Any


class _Row(Record):
    data_source: Any
    prompt: list[_Message]
    reward_model: _RewardModel


def _prompt(path: Path, index: int, row: dict[str, Any]) -> Prompt:
    found = check_record(_Row, row, f"{path}, row {index}", "verl's 'prompt' is a list of chat messages")
    extra_info = row.get("extra_info")
    return Prompt(
        index=index,
        messages=[dict(message) for message in row["prompt"]],
        data_source=str(found.data_source),
        ground_truth=found.reward_model.ground_truth,
        extra_info=dict(extra_info) if isinstance(extra_info, dict) else {},
    )
