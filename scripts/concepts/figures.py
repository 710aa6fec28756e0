"""The pictures of docs/concepts.md."""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from concepts.example import Example

EASED, PENALISED, CORRECT, NEUTRAL = "#e08214", "#b2abd2", "#7fbf7b", "#f0f0f0"


def tokens(example: Example) -> Figure:
    """Every answer's tokens with their scores; eased ones stand out."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    scores, selected = example.decision.scores, example.decision.selected
    for row, right in enumerate(example.correct.tolist()):
        places = torch.nonzero(example.response == row)[:, 0].tolist()
        for column, t in enumerate(places):
            colour = CORRECT if right else EASED if selected[t] else PENALISED
            edge = {"linewidth": 2.5, "edgecolor": "black"} if selected[t] else {"linewidth": 0.5, "edgecolor": "grey"}
            axes.add_patch(Rectangle((column, -row), 0.92, 0.8, facecolor=colour, **edge))
            axes.text(column + 0.46, 0.52 - row, example.words[t], ha="center", va="center", fontsize=14)
            axes.text(column + 0.46, 0.17 - row, f"{float(scores[t]):.2f}", ha="center", va="center", fontsize=9)
        label = "correct" if right else "wrong"
        axes.text(
            -0.15, 0.4 - row, f"{label}, Â = {example.grpo[places[0]]:+.1f}", ha="right", va="center", fontsize=11
        )
    tau, eta = float(example.decision.threshold), float(example.decision.eta)
    axes.set_title(f"Scores s of the tokens; τ = {tau:.2f}. Framed: s > τ, the penalty is multiplied by η = {eta:g}")
    axes.set(xlim=(-2.5, 11.1), ylim=(-3.2, 1))
    axes.axis("off")
    return figure


def displacement(example: Example) -> Figure:
    """Effect of one update on the correct answer under three methods."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    changes = {name: example.change(advantages) for name, advantages in example.advantages().items()}
    bars = axes.barh(list(changes), list(changes.values()), color=[CORRECT, EASED, PENALISED], edgecolor="black")
    axes.bar_label(bars, fmt="%+.3f", padding=4)
    axes.set(xlabel="change of ln π(correct answer) by one update", xlim=(0, 1.2 * max(changes.values())))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def reduction(example: Example) -> Figure:
    """M⁺ as a sum over the ranks that hold the tokens."""
    right = example.correct[example.response]
    first = right & (right.cumsum(0) <= right.sum() // 2)
    parts = [example.influence_matrix(first), example.influence_matrix(right & ~first)]
    whole = sum(parts)
    limit = float(whole.abs().max())
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    titles = ("rank 0: its tokens k\nΣ g_k h_kᵀ", "rank 1: its tokens k\nΣ g_k h_kᵀ", "all-reduce: M⁺\non both ranks")
    for axes, matrix, title in zip(figure.subplots(1, 3), (*parts, whole), titles, strict=True):
        image = axes.imshow(matrix.numpy(), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
        axes.set_title(title, fontsize=11)
        axes.set(xlabel="hidden state, D", ylabel="vocabulary, V*", xticks=[], yticks=[])
    figure.colorbar(image, ax=figure.axes, shrink=0.8)
    return figure


STEP = (
    ("rollout", "vLLM samples G\nanswers per prompt", False),
    ("reward", "correct or wrong;\nmixed groups", False),
    ("old-log-prob pass", "keeps h of mixed\ngroups → s, τ", True),
    ("advantage", "GRPO's Â\n× weight (1 or η)", True),
    ("update", "verl's own loss,\noptimizer, sync", False),
)
"""Parts of verl's step: title, what happens, and whether this package acts there."""


def step(example: Example) -> Figure:
    """verl's step, and where this package acts in it."""
    figure = Figure(figsize=(10, 2.1), layout="constrained")
    axes = figure.subplots()
    for place, (title, text, ours) in enumerate(STEP):
        box = FancyBboxPatch((2 * place, 0), 1.6, 1, boxstyle="round,pad=0.04", facecolor=EASED if ours else NEUTRAL)
        axes.add_patch(box)
        axes.text(2 * place + 0.8, 0.8, title, ha="center", va="center", fontsize=11, weight="bold")
        axes.text(2 * place + 0.8, 0.36, text, ha="center", va="center", fontsize=10)
        if place:
            axes.add_patch(
                FancyArrowPatch((2 * place - 0.36, 0.5), (2 * place - 0.04, 0.5), arrowstyle="-|>", mutation_scale=14)
            )
    axes.set(xlim=(-0.1, 9.7), ylim=(-0.1, 1.1))
    axes.axis("off")
    return figure


FIGURES: dict[str, Callable[[Example], Figure]] = {
    "concepts-tokens.svg": tokens,
    "concepts-displacement.svg": displacement,
    "concepts-step.svg": step,
    "concepts-reduction.svg": reduction,
}
"""By the name of the file in docs/images."""
