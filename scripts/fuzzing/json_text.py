"""JSON of any shape, and bytes that were JSON once."""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        "",
        "x",
        "7",
        "\ud800",
        "a\u202eb\x00",
        [],
        {},
        [None],
        [[]],
        ["x"],
        [1, 1, 1],
        [0.5],
        {"a": 1},
    ),
    *(0, -1, 2**31, 2**53, 2**53 + 1, 2**70, 10**400, -0.0, 0.5, 1e-320, 3.4e38, -3.4e38, 3.5e38, 1e308),
    *(float("nan"), float("inf"), float("-inf")),
)
CHUNKS = (
    *(b"\xff\xfe", b"\xc3", b"\x00", b"\n", b"\r", b"\r\n", b'"', b"\\ud800", b"\\", b"{}", b"[", b",", b"null", b"-"),
    *(
        b"NaN",
        b"Infinity",
        b"1e999",
        b"9" * 5000,
        b"[" * 20_000,
        b'{"a":' * 20_000,
        b"\x1f\x8b\x08\x00",
        b"\xe2\x80\xa8",
    ),
)

odd_values = st.one_of(st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=5))
kinds = st.sampled_from(("flip", "cut", "drop", "insert", "double"))
damages = st.one_of(
    st.just([]), st.lists(st.tuples(kinds, st.integers(0, 2**20), st.integers(0, 99)), min_size=1, max_size=3)
)
"""Changes of bytes, for :func:`damage`."""


def damage(content: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """``content`` with bits flipped, and parts cut off, left out, put in or doubled."""
    for kind, place, number in changes:
        at = place % (len(content) + 1)
        before, after = content[:at], content[at:]
        if kind == "flip" and after:
            content = before + bytes([after[0] ^ 1 << number % 8]) + after[1:]
        elif kind == "cut":
            content = before
        elif kind == "drop":
            content = before + after[number:]
        elif kind == "insert":
            content = before + CHUNKS[number % len(CHUNKS)] + after
        elif kind == "double":
            content = before + after[:number] + after
    return content


@dataclass(frozen=True)
class Lines:
    """Records as a file of JSON lines, its bytes changed."""

    records: list[Any]
    """One a line."""

    changes: list[tuple[str, int, int]]
    """For :func:`damage`."""

    @property
    def content(self) -> bytes:
        """Of the file."""
        return damage("".join(json.dumps(each) + "\n" for each in self.records).encode(), self.changes)


def changed(record: dict[str, Any], max_size: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """``record`` with some of its values replaced, or others added."""
    names = st.one_of(st.sampled_from(list(record)), st.text(max_size=3))
    return st.dictionaries(names, odd_values, max_size=max_size).map(lambda changes: record | changes)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def written(name: str, content: bytes) -> Path:
    """A file of that content in a folder of this process, which is removed at its end."""
    path = Path(_folder().name) / name
    path.write_bytes(content)
    return path
