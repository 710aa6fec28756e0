"""The messages in the sources, with … for every value that is filled in."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.docs.pages import ROOT

COMPLETE = (
    "verl_nthr/integration/config/*.py",
    "verl_nthr/integration/igrpo/options.py",
    "verl_nthr/probe/rollouts.py",
    "verl_nthr/evaluation/records.py",
)
"""Their messages name the fix, and the page does not repeat them."""

SAID_BY = {"warnings.warn", "logger.warning"}
HANDED_ON = re.compile(r"(?:--\w+|[…=:. ])*")
"""No text of its own: another error's, after the option or file that it is about."""


@functools.cache
def templates(folder: str) -> set[str]:
    """Every text in the sources of a folder of the repository."""
    return {text for node in _nodes(folder) if (text := _template(node)) is not None}


def said(folder: str) -> set[str]:
    """What is raised, warned of, or given as the reason of a refusal."""
    found: set[str] = set()
    complete = {node for part in COMPLETE for file in ROOT.glob(part) for node in _nodes_of(file)}
    for node in _nodes(folder):
        if node in complete:
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = node.exc.args
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in SAID_BY:
            arguments = node.args
        elif isinstance(node, ast.Yield) and node.value is not None:
            arguments = [node.value]
        else:
            continue
        found |= {text for argument in arguments if (text := _template(argument)) and not HANDED_ON.fullmatch(text)}
    return found


@functools.cache
def _nodes(folder: str) -> list[ast.AST]:
    return [node for file in (ROOT / folder).rglob("*.py") for node in _nodes_of(file)]


@functools.cache
def _nodes_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def _template(node: ast.AST) -> str | None:
    if isinstance(node, ast.BinOp):
        return _template(node.left)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("%s", "…")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None
