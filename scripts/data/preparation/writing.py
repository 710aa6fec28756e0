"""Rows in verl's format, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.files import write_whole

from .selection import Selection
from .sets import MathSet, Problem

Messages = list[dict[str, str]]

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."

SYSTEM_MESSAGE = {"qwen2.5-math": True, "qwen2.5-instruct": False, "llama-3.2": False, "deepseek-r1-distill": False}
"""``--template`` → whether :data:`BOXED` is the system message; else it follows the problem, and the tokenizer's chat
template chooses the system message."""


def messages(problem: str, template: str) -> Messages:
    """Return the chat that asks for the solution; verl applies the tokenizer's chat template to it."""
    if SYSTEM_MESSAGE[template]:
        return [{"role": "system", "content": BOXED}, {"role": "user", "content": problem}]
    return [{"role": "user", "content": f"{problem}\n{BOXED}"}]


def verl_row(each: Problem, math_set: MathSet, split: str, template: str) -> dict[str, Any]:
    """Return the row as verl's ``RLHFDataset`` reads it."""
    extra_info = {"split": split, "index": each.index, "source": math_set.name, "problem": each.problem}
    return {
        "data_source": math_set.data_source,
        "prompt": messages(each.problem, template),
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": each.answer},
        "extra_info": {**extra_info, "level": each.level, "subject": each.subject},
    }


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """Return a parquet file of rows, with one schema for all sets, because verl concatenates files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, message = pa.string(), pa.struct({"role": pa.string(), "content": pa.string()})
    extra_info = {"split": text, "index": pa.int64(), "source": text, "problem": text, "level": pa.int64()}
    schema = pa.schema(
        {
            "data_source": text,
            "prompt": pa.list_(message),
            "ability": text,
            "reward_model": pa.struct({"style": text, "ground_truth": text}),
            "extra_info": pa.struct({**extra_info, "subject": text}),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue().to_pybytes()


def rejects(name: str, split: str, selection: Selection) -> bytes:
    """Return one JSON line per row that was dropped from a split."""
    lines = (
        {"set": name, "split": split, "index": each.row.index, "reason": each.reason, "detail": each.detail}
        | {"problem": each.row.problem, "answer": each.row.answer}
        for each in selection.dropped
    )
    return b"".join(json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n" for line in lines)


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write all files, once all of them are made.

    Raises:
        InputError: a file cannot be written.
    """
    for path, content in files.items():
        try:
            write_whole(path, content)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error}); give another folder or file") from error


def copy_to_hdfs(files: Iterable[Path], folder: Path, hdfs_dir: str) -> None:
    """Copy files of a folder to the same places below ``hdfs_dir``, by verl's own functions.

    Raises:
        InputError: a copy failed.
    """
    from verl.utils.hdfs_io import copy, makedirs

    for file in files:
        target = f"{hdfs_dir.rstrip('/')}/{file.relative_to(folder).parent}".removesuffix("/.")
        makedirs(target, exist_ok=True)
        if not copy(src=str(file), dst=target):
            raise InputError(f"{file} was written but not copied to --hdfs_dir {target}; copy it yourself")
