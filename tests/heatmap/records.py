"""Token dumps made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def record(**changes: Any) -> dict[str, Any]:
    """A wrong response of three tokens, the first of them eased; ``changes`` replace entries."""
    return {
        "schema": 2,
        "step": 7,
        "uid": "g",
        "response_index": 0,
        "prompt": "1+1=?",
        "response": "so 3",
        "tokens": ["so", " ", "3"],
        "token_ids": [11, 12, 13],
        "mask": [1, 1, 1],
        "log_probs": [-0.25, -0.5, -1.5],
        "entropies": [0.125, 0.75, 2.0],
        "scores": [2.5, 0.5, -3.0],
        "weights": [0.5, 1.0, 1.0],
        "reward": 0.0,
        "correct": False,
        "advantage": -0.75,
        "tau": 1.0,
        "eta": 0.5,
        "success_rate": 0.5,
    } | changes


def correct_record(**changes: Any) -> dict[str, Any]:
    """A correct response of the same group."""
    return record(
        **{"response_index": 1, "reward": 1.0, "correct": True, "advantage": 0.75, "weights": [1.0] * 3} | changes
    )


def group(uid: str, correct: int, size: int = 4, **changes: Any) -> list[dict[str, Any]]:
    """``size`` responses to a prompt of their own, of which the first ``correct`` are correct."""
    common = {"uid": uid, "prompt": f"What is {uid}?"} | changes
    if not 0 < correct < size:
        common |= {"tau": None, "eta": None, "scores": [None] * 3, "weights": [1.0] * 3}
    return [(correct_record if i < correct else record)(**common | {"response_index": i}) for i in range(size)]


def write_dump(path: Path, *records: dict[str, Any]) -> Path:
    """Write the records as a dump."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records), encoding="utf-8")
    return path


HOSTILE = [
    "</script><script>document.title = 'hacked'</script>",
    "<img src=x onerror=\"document.title = 'hacked'\">",
    '" onmouseover="document.title = \'hacked\'" x="',
    "<!--<script>",
    "]]><svg onload=\"document.title = 'hacked'\">",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "&lt;b&gt;&#0;&amp;",
    "<!-- --></style><style>*{display:none}</style>",
    '\\u003c/script\\u003e \\" \\',
    "\x00\x1b[31m\x07\x7f\r\n\t",
    "\u202egnp.exe\u2066\u200b\ufeff\u2028\u2029",
    "\x1b]0;hacked\x07\x9b31m\u200f\u202a\u2069\u00ad",
    "[red]a[/red][/b][link=file:///etc]",
    "$\\foo{$ $x_",
    "a|b `c` [d](javascript:e) ![f](g) *h* __i__",
    "\ud800 and \udfff",
]
"""Strings that would break out of a page that takes them for more than text."""
