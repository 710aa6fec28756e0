"""Benchmarks: parquet files in verl's format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt, read_prompts
from verl_nthr.text import file_name

TITLES = {
    "aime24": "AIME24",
    "amc23": "AMC23",
    "math500": "MATH500",
    "minerva": "Minerva",
    "olympiadbench": "Olympiad",
    "aime25": "AIME25",
}
"""Benchmarks with a place of their own in the tables, in the order of the paper's, and how they are written there."""

SPLITS = {"test", "train", "val", "validation"}


@dataclass(frozen=True)
class Benchmark:
    """Prompts that are averaged over."""

    name: str
    """Unique in a run, and usable as a file's name."""

    path: Path
    """The file that the prompts are in."""

    sha256: str
    """Of the file."""

    prompts: list[Prompt]
    """At least one."""

    @property
    def title(self) -> str:
        """As tables and figures write it."""
        return TITLES.get(self.name, self.name)


def read_benchmarks(paths: list[Path]) -> list[Benchmark]:
    """The benchmarks in files and folders: those of the paper in its order, then the others as they come.

    A file is a benchmark, named for itself, or for its folder if it is called ``test.parquet`` or the like. A file with
    several data sources is a benchmark for each, named for the data source.

    Args:
        paths: parquet files, and folders whose parquet files at any depth are all taken.

    Raises:
        InputError: a path is missing, holds no parquet file, or a file is not in verl's format or has no rows; or two
            benchmarks have one name.
    """
    benchmarks: dict[str, Benchmark] = {}
    for path in paths:
        for file in _files(path):
            for benchmark in _read(file):
                other = benchmarks.setdefault(benchmark.name, benchmark)
                if other is not benchmark:
                    raise InputError(
                        f"--data: {other.path} and {file} are both the benchmark {benchmark.name!r}; pass one of them, "
                        "or rename a file"
                    )
    order = [*TITLES, *(name for name in benchmarks if name not in TITLES)]
    return [benchmarks[name] for name in order if name in benchmarks]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise InputError(f"--data: {path} holds no parquet file; pass files in verl's format, or a folder of them")
    return files


def _read(file: Path) -> list[Benchmark]:
    try:
        prompts = read_prompts(file)
    except InputError as error:
        raise InputError(f"--data: {error}") from error
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    sources = list(dict.fromkeys(prompt.data_source for prompt in prompts))
    if len(sources) == 1:
        name = file.absolute().parent.name if file.stem in SPLITS else file.stem
        return [Benchmark(file_name(name), file, sha256, prompts)]
    return [
        Benchmark(file_name(source), file, sha256, [each for each in prompts if each.data_source == source])
        for source in sources
    ]
