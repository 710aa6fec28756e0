"""Rows of a data set, from the hub or from local files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from .errors import DataError
from .math_set import MathSet

SUFFIXES = (".parquet", ".jsonl", ".json")


@dataclass(frozen=True)
class Source:
    """Rows and where they are from."""

    where: str
    """File, folder or name on the hub, for messages."""

    rows: Iterable[dict[str, Any]]
    """In the source's order."""


def place_of(math_set: MathSet, source: Path | None, *, alone: bool) -> Path | None:
    """The part of ``--source`` that holds a set: a file or folder of its name inside, or all of it.

    Args:
        math_set: which.
        source: as given.
        alone: no other set is read from it.

    Raises:
        DataError: several sets are read, and none of these is in the source.
    """
    if source is None:
        return None
    inside = [source / f"{math_set.name}{suffix}" for suffix in ("", *SUFFIXES)]
    found = next((path for path in inside if path.exists()), None)
    if found is None and not alone:
        raise DataError(
            f"--source {source} has none of {', '.join(path.name for path in inside)}; put {math_set.name} there, or "
            "leave it out of --sets"
        )
    return found or source


def read_splits(math_set: MathSet, source: Path | None) -> dict[str, Source]:
    """The splits of a set, by the name under which they are written.

    Args:
        math_set: which.
        source: a parquet, JSONL or JSON file, which is the set's first split; a folder that ``datasets`` saved; or a
            folder with a file or files for each split. None is the hub.

    Raises:
        DataError: the source cannot be read, or lacks a split.
    """
    if source is None:
        return _from_hub(math_set)
    if source.is_file():
        return {next(iter(math_set.splits)): Source(str(source), read_file(source))}
    if not source.is_dir():
        raise DataError(f"--source {source} does not exist")
    if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
        return _saved(math_set, source)
    return {
        written: Source(f"{source} ({split})", _shards(source, {written, split}))
        for written, split in math_set.splits.items()
    }


def read_file(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one parquet, JSONL or JSON file.

    Raises:
        DataError: it is of another type, or is no such file.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path} is of an unknown type; --source and --against take {', '.join(SUFFIXES)}")
    return {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json}[path.suffix](path)


def _from_hub(math_set: MathSet) -> dict[str, Source]:
    import datasets

    name = f"{math_set.hub} ({math_set.config})" if math_set.config else math_set.hub
    try:
        splits = datasets.load_dataset(math_set.hub, math_set.config)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{name} cannot be loaded from the hub ({error}); without a network, download it elsewhere and give its "
            "file or folder as --source"
        ) from error
    return _pick(math_set, splits, name)


def _saved(math_set: MathSet, folder: Path) -> dict[str, Source]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"--source {folder} is not a folder that datasets saved whole ({error})") from error
    if isinstance(saved, datasets.Dataset):
        return {next(iter(math_set.splits)): Source(str(folder), saved)}
    return _pick(math_set, saved, str(folder))


def _pick(math_set: MathSet, splits: Any, where: str) -> dict[str, Source]:
    found = {}
    for written, split in math_set.splits.items():
        if split not in splits:
            raise DataError(f"{where} has no split {split}, only {', '.join(splits)}; give another --source")
        found[written] = Source(f"{where}, split {split}", splits[split])
    return found


def _shards(folder: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    files = sorted(
        path
        for path in (*folder.iterdir(), *folder.glob("data/*"))
        if path.suffix in SUFFIXES and path.stem.split("-")[0] in names
    )
    if not files:
        sought = " or ".join(f"{name}{suffix}" for name in sorted(names) for suffix in SUFFIXES)
        raise DataError(f"--source {folder} has no {sought}; give a file, or a folder with one")
    return chain.from_iterable(map(read_file, files))


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as parquet ({error})") from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _object(_parse(line, f"{path}:{number}"), f"{path}:{number}")


def _json(path: Path) -> Iterator[dict[str, Any]]:
    rows = _parse(path.read_bytes(), str(path))
    if not isinstance(rows, list):
        raise DataError(f"{path} is no list of JSON objects; a file with an object a line is named .jsonl")
    for number, row in enumerate(rows):
        yield _object(row, f"{path}, entry {number}")


def _parse(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON ({error}); was the file cut off?") from error


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where} is no JSON object")
    return row
