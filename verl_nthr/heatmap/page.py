"""Builds the page: one HTML file that holds data, style and script, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps

from verl_nthr.files import write_whole
from verl_nthr.heatmap import charts
from verl_nthr.heatmap.columns import Step, Vocabulary, step_of
from verl_nthr.heatmap.encoding import add_labels, encode_step, encode_vocabulary
from verl_nthr.heatmap.inputs import read_steps
from verl_nthr.heatmap.summary import Summary, summarise
from verl_nthr.heatmap.text import number, percent
from verl_nthr.text import on_one_line

PACKAGE = "verl_nthr.heatmap"
SCRIPTS = ("data.js", "finder.js", "group.js", "token.js", "main.js")
"""Run in this order, as one script."""


def write_heatmap(
    files: Collection[Path], page: Path, title: str, report: Callable[[str], None] = lambda _: None
) -> Summary:
    """Write the page of dumped steps, whole or not at all; folders are made.

    Args:
        files: at least one dump, each of another step.
        page: the HTML file.
        title: heading of the page.
        report: is told what is being done.

    Raises:
        InputError: a file is not a token dump.
        OSError: a file cannot be read, or the page not be written.
    """
    vocabulary = Vocabulary()
    steps: list[Step] = []
    encoded: list[dict[str, Any]] = []
    for step, groups in read_steps(files):
        report(f"reading step {step}")
        steps.append(step_of(step, groups, vocabulary))
        encoded.append(encode_step(step, groups, steps[-1].tokens))
    report("writing the page")
    encoded.sort(key=lambda entry: entry["step"])
    add_labels(encoded)
    summary = summarise(steps, vocabulary.texts)
    text = render(title, {"vocabulary": encode_vocabulary(vocabulary), "steps": encoded}, summary)
    write_whole(page, text.encode("utf-8"))
    return summary


def render(title: str, data: dict[str, Any], summary: Summary) -> str:
    """The page as text.

    Args:
        title: heading of the page.
        data: for the script.
        summary: drawn on the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE, "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "on_one_line": on_one_line}
    style, script = _asset("page.css"), "\n".join(map(_asset, SCRIPTS))
    return environment.get_template("page.html.j2").render(
        title=on_one_line(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=htmlsafe_json_dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        summary=summary,
        charts=charts.charts(summary),
        geometry=charts,
    )


def _asset(name: str) -> str:
    return resources.files(PACKAGE).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
