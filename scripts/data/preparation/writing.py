"""Rows in verl's format, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from verl_nthr.files import write_whole

from .errors import DataError
from .math_set import MathSet, Problem
from .selection import Selection
from .templates import Template


def verl_row(each: Problem, math_set: MathSet, split: str, template: Template) -> dict[str, Any]:
    """The row as verl's ``RLHFDataset`` reads it."""
    return {
        "data_source": math_set.data_source,
        "prompt": template.messages(each.problem),
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": each.answer},
        "extra_info": {
            "split": split,
            "index": each.index,
            "source": math_set.name,
            "problem": each.problem,
            "level": each.level,
            "subject": each.subject,
        },
    }


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """A parquet file of rows, of one schema whatever the set: verl concatenates files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct({"role": pa.string(), "content": pa.string()})
    extra_info = {"split": pa.string(), "index": pa.int64(), "source": pa.string(), "problem": pa.string()}
    schema = pa.schema(
        {
            "data_source": pa.string(),
            "prompt": pa.list_(message),
            "ability": pa.string(),
            "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
            "extra_info": pa.struct({**extra_info, "level": pa.int64(), "subject": pa.string()}),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue().to_pybytes()


def rejects(selections: Iterable[tuple[str, str, Selection]]) -> bytes:
    """A JSON object a line for every dropped row.

    Args:
        selections: name of the set, of the split, and its rows.
    """
    lines = (
        {
            "set": name,
            "split": split,
            "index": finding.row.index,
            "reason": finding.reason,
            "detail": finding.detail,
            "problem": finding.row.problem,
            "answer": finding.row.answer,
        }
        for name, split, selection in selections
        for finding in selection.dropped
    )
    return b"".join(json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n" for line in lines)


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write all files, once all of them are made.

    Raises:
        DataError: a file cannot be written.
    """
    for path, content in files.items():
        try:
            write_whole(path, content)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error}); give another folder or file") from error


def copy_to_hdfs(files: Iterable[Path], folder: Path, hdfs_dir: str) -> None:
    """Copy files of a folder to the same places below ``hdfs_dir``, by verl's own functions.

    Raises:
        DataError: a copy failed.
    """
    from verl.utils.hdfs_io import copy, makedirs

    for file in files:
        target = f"{hdfs_dir.rstrip('/')}/{file.relative_to(folder).parent}".removesuffix("/.")
        makedirs(target, exist_ok=True)
        if not copy(src=str(file), dst=target):
            raise DataError(f"{file} was written but not copied to --hdfs_dir {target}; copy it yourself")
