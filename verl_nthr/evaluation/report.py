"""The tables of an evaluation."""

from __future__ import annotations

from typing import Any

from verl_nthr.tables import Grid
from verl_nthr.text import label

AVERAGE = "Avg."


def grids(document: dict[str, Any]) -> list[Grid]:
    """Greedy accuracy in the paper's layout, and with samples Pass@K: the average and every benchmark.

    Args:
        document: of :func:`verl_nthr.evaluation.run.evaluate`.
    """
    tables = [_greedy(document)]
    if document["settings"]["samples"]:
        samples, temperature = document["settings"]["samples"], document["settings"]["temperature"]
        if len(document["benchmarks"]) > 1:
            estimates = [model["average"]["pass_at_k"] for model in document["models"]]
            title = f"Pass@K, %: average of {len(document['benchmarks'])} benchmarks"
            tables.append(_pass_at_k(title, document, estimates))
        for each in document["benchmarks"]:
            estimates = [model["benchmarks"][each["name"]]["sampled"]["pass_at_k"] for model in document["models"]]
            how = f"{each['prompts']} prompts, {samples} samples each at temperature {temperature:g}"
            tables.append(_pass_at_k(f"Pass@K, %: {label(each['title'])} ({how})", document, estimates))
    return tables


def _greedy(document: dict[str, Any]) -> Grid:
    benchmarks = document["benchmarks"]
    headings = ["model", *(label(each["title"]) for each in benchmarks)]
    rows = []
    for model in document["models"]:
        estimates = [model["benchmarks"][each["name"]]["greedy"] for each in benchmarks]
        if len(benchmarks) > 1:
            estimates.append(model["average"]["greedy"])
        rows.append([row_label(model), *(_cell(estimate) for estimate in estimates)])
    return Grid("Greedy accuracy, % (95 % interval)", [*headings, AVERAGE][: len(rows[0])], rows)


def _pass_at_k(title: str, document: dict[str, Any], estimates: list[dict[str, Any]]) -> Grid:
    rows = [
        [row_label(model), *(f"{100 * each['value']:.1f}" for each in by_k.values())]
        for model, by_k in zip(document["models"], estimates, strict=True)
    ]
    return Grid(title, ["model", *(f"K={k}" for k in estimates[0])], rows)


def row_label(model: dict[str, Any]) -> str:
    """A model's name in tables and figures."""
    return label(model["name"]) if model["step"] is None else f"{label(model['name'])}, step {model['step']}"


def _cell(estimate: dict[str, Any]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
