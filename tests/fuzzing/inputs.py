"""Odd values, tensors and damaged files for hypothesis, and the rule for what the package may answer.

By default each test tries a few fixed cases. ``FUZZ_EXAMPLES=5000 pytest tests/fuzzing`` tries that many new ones.
"""

from __future__ import annotations

import json
import math
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

ROOT = Path(__file__).parents[2]
SOURCES = tuple(str(ROOT / folder) for folder in ("verl_nthr", "scripts"))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def fuzzed(examples: int = 60) -> settings:
    """Decorator of a test that tries ``examples`` cases, or ``FUZZ_EXAMPLES``."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def may_refuse(*errors: type[Exception]) -> Iterator[None]:
    """Allow errors of exactly these types, raised by this project itself and not by a library that it calls."""
    try:
        yield
    except errors as error:
        place = traceback.extract_tb(error.__traceback__)[-1].filename
        if type(error) not in errors or not place.startswith(SOURCES):
            raise


# values of options

SPECIAL = (0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 1e-45, 1e-20, 3e38, -3e38)
numbers = st.sampled_from(
    (*SPECIAL, 2, -3, True, None, "x", "balanced", "p", "1-p", "", 10**400, -(10**400), [], {}, (1,), "\ud800")
)

# tensors

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
DTYPES = (*FLOATS, *INTEGERS, torch.float8_e4m3fn, torch.complex64, torch.bool)
INDICES = (-(2**63), -2, -1, 0, 1, 2, 5, 2**20, 2**31, 2**40, 2**62)

shapes = st.lists(st.integers(0, 4), max_size=3)
odd_tensors = st.one_of(
    st.builds(
        lambda shape, dtype, value: torch.full(shape, value).to(dtype),
        shapes,
        st.sampled_from(DTYPES),
        st.sampled_from(SPECIAL),
    ),
    st.builds(lambda shape, value: torch.full(shape, value, dtype=torch.int64), shapes, st.sampled_from(INDICES)),
)
seeds = st.integers(0, 2**16)
specials = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(SPECIAL)), max_size=2)
"""Places and values for :func:`values`."""


def values(shape: tuple[int, ...], seed: int, special: list[tuple[int, float]], scale: float = 1.0) -> Tensor:
    """Normal numbers, some of them replaced: float64 of ``shape``."""
    flat = scale * torch.randn(math.prod(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for place, value in special if len(flat) else ():
        flat[place % len(flat)] = value
    return flat.reshape(shape)


# JSON and files

ODD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "7", "\ud800", "a\u202eb\x00", [], {}, [None], [[]], ["x"], [1, 1, 1], {"a": 1}),
    *(0, -1, 2**31, 2**53 + 1, 2**70, 10**400, -0.0, 0.5, 1e-320, 3.4e38, -3.4e38, 3.5e38, 1e308),
    *(math.nan, math.inf, -math.inf),
)
CHUNKS = (
    *(b"\xff\xfe", b"\xc3", b"\x00", b"\n", b"\r\n", b'"', b"\\ud800", b"\\", b"{}", b"[", b",", b"null", b"-"),
    *(b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"[" * 20_000, b'{"a":' * 20_000, b"\x1f\x8b\x08\x00"),
)
odd_values = st.one_of(st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=5))
damages = st.lists(
    st.tuples(st.sampled_from(("flip", "cut", "drop", "insert", "double")), st.integers(0, 2**20), st.integers(0, 99)),
    max_size=3,
)


def damage(content: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """``content`` with bits flipped, and parts cut off, left out, inserted or doubled."""
    for kind, place, number in changes:
        at = place % (len(content) + 1)
        before, after = content[:at], content[at:]
        content = (
            before
            + {
                "flip": bytes([after[0] ^ 1 << number % 8]) + after[1:] if after else b"",
                "cut": b"",
                "drop": after[number:],
                "insert": CHUNKS[number % len(CHUNKS)] + after,
                "double": after[:number] + after,
            }[kind]
        )
    return content


def changed(record: dict[str, Any], max_size: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """``record`` with some of its values replaced, or others added."""
    names = st.one_of(st.sampled_from(list(record)), st.text(max_size=3))
    return st.dictionaries(names, odd_values, max_size=max_size).map(lambda changes: record | changes)


def json_lines(*records: dict[str, Any] | st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """A file of JSON lines of such records, some of them changed, its bytes damaged at times."""
    drawn = [record if isinstance(record, st.SearchStrategy) else st.just(record) for record in records]
    line = st.one_of(*drawn, *drawn, *drawn, *(record.flatmap(changed) for record in drawn), odd_values)
    return st.builds(
        lambda lines, changes: damage("".join(json.dumps(each) + "\n" for each in lines).encode(), changes),
        st.lists(line, max_size=4),
        st.one_of(st.just([]), damages),
    )
