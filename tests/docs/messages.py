"""The messages in the sources, with … for every value that is filled in."""

from __future__ import annotations

import ast
import functools
import re

from tests.docs.pages import ROOT

SAID_BY = {"warnings.warn", "logger.warning"}
HANDED_ON = re.compile(r"(?:--\w+|[…=:. ])*")
"""No text of its own: another error's, after the option or file that it is about."""
REQUIREMENT = (ast.expr, (ast.Lambda, ast.Call, ast.Name), ast.expr)
"""A key, whether a value of it will do, and else why not."""


@functools.cache
def templates(folder: str) -> set[str]:
    """Every text in the sources of a folder of the repository."""
    return {text for node in _nodes(folder) if (text := _template(node)) is not None}


def said(folder: str) -> set[str]:
    """What is raised, warned of, or given as the reason of a refusal."""
    found: set[str] = set()
    for node in _nodes(folder):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = node.exc.args
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in SAID_BY:
            arguments = node.args
        elif isinstance(node, ast.Yield) and node.value is not None:
            arguments = [node.value]
        elif isinstance(node, ast.Tuple) and len(node.elts) == len(REQUIREMENT):
            arguments = node.elts[2:] if isinstance(node.elts[1], REQUIREMENT[1]) else []
        else:
            continue
        found |= {text for argument in arguments if (text := _template(argument)) and not HANDED_ON.fullmatch(text)}
    return found


@functools.cache
def _nodes(folder: str) -> list[ast.AST]:
    files = (ROOT / folder).rglob("*.py")
    return [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]


def _template(node: ast.AST) -> str | None:
    if isinstance(node, ast.BinOp):
        return _template(node.left)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("%s", "…")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None
