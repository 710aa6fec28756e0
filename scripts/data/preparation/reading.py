"""Rows of a data set, from the hub or from local files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.json_lines import parse_line

from .sets import MathSet

SUFFIXES = (".parquet", ".jsonl", ".json")


@dataclass(frozen=True)
class Source:
    """Rows, and the file, folder or name on the hub that they are from."""

    where: str
    rows: Iterable[dict[str, Any]]


def place_of(math_set: MathSet, source: Path | None, *, alone: bool) -> Path | None:
    """Find the part of ``--source`` that holds a set: a file or folder with its name inside, or all of it if ``alone``.

    Raises:
        InputError: several sets are read, and this one is not in the source.
    """
    if source is None:
        return None
    names = [f"{math_set.name}{suffix}" for suffix in ("", *SUFFIXES)]
    found = next((source / name for name in names if (source / name).exists()), source if alone else None)
    if found is None:
        raise InputError(
            f"--source {source} has none of {', '.join(names)}; put {math_set.name} there, or leave it out of --sets"
        )
    return found


def read_splits(math_set: MathSet, source: Path | None) -> dict[str, Source]:
    """Read the splits of a set, by the name under which they are written.

    ``source`` is a parquet, JSONL or JSON file, which is the set's first split; a folder that ``datasets`` saved; a
    folder with files for each split; or None, which is the hub.

    Raises:
        InputError: the source cannot be read, or lacks a split.
    """
    if source is None:
        return _from_hub(math_set)
    if source.is_file():
        return {next(iter(math_set.splits)): Source(str(source), read_file(source))}
    if not source.is_dir():
        raise InputError(f"--source {source} does not exist")
    if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
        return _saved(math_set, source)
    return {
        written: Source(f"{source} ({split})", _shards(source, {written, split}))
        for written, split in math_set.splits.items()
    }


def read_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of one parquet, JSONL or JSON file.

    Raises:
        InputError: it is of another type, or damaged.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is of an unknown type; --source and --against take {', '.join(SUFFIXES)}")
    return {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json}[path.suffix](path)


def _from_hub(math_set: MathSet) -> dict[str, Source]:
    import datasets

    name = f"{math_set.hub} ({math_set.config})" if math_set.config else math_set.hub
    try:
        splits = datasets.load_dataset(math_set.hub, math_set.config)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name} cannot be loaded from the hub ({error}); without a network, download it elsewhere and give its "
            "file or folder as --source"
        ) from error
    return _pick(math_set, splits, name)


def _saved(math_set: MathSet, folder: Path) -> dict[str, Source]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"--source {folder} is not a folder that datasets saved whole ({error})") from error
    if isinstance(saved, datasets.Dataset):
        return {next(iter(math_set.splits)): Source(str(folder), saved)}
    return _pick(math_set, saved, str(folder))


def _pick(math_set: MathSet, splits: Any, where: str) -> dict[str, Source]:
    if missing := [split for split in math_set.splits.values() if split not in splits]:
        raise InputError(f"{where} has no split {missing[0]}, only {', '.join(splits)}; give another --source")
    return {written: Source(f"{where}, split {split}", splits[split]) for written, split in math_set.splits.items()}


def _shards(folder: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    files = sorted(
        path
        for path in (*folder.iterdir(), *folder.glob("data/*"))
        if path.suffix in SUFFIXES and path.stem.split("-")[0] in names
    )
    if not files:
        sought = " or ".join(f"{name}{suffix}" for name in sorted(names) for suffix in SUFFIXES)
        raise InputError(f"--source {folder} has no {sought}; give a file, or a folder with one")
    return chain.from_iterable(map(read_file, files))


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as parquet ({error})") from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_line(line, f"{path}:{number}")


def _json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); was the file cut off?") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} is not a list of JSON objects; a file with an object a line is named .jsonl")
    yield from rows
