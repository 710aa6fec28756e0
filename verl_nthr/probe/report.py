"""The table in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = {
    "grpo": "GRPO",
    "pos_only": "Pos-Only",
    "random": "GRPO+Random",
    "nthr": "GRPO+NTHR",
    "exact": "GRPO+exact effect",
}
MOVED_ENOUGH = 0.5


def print_report(summary: dict[str, Any], console: Console) -> None:
    """Print the summary of :func:`verl_nthr.probe.statistics.summarise`."""
    table = Table(title=f"Δ(x): change of ln π(correct | prompt), {summary['groups']} mixed groups")
    for heading in ("update", "mean Δ(x)", "Δ(x) < 0", "gain on GRPO", "standard error"):
        table.add_column(heading, justify="left" if heading == "update" else "right")
    for name, variant in summary["variants"].items():
        gain, error = f"{variant['mean_gain']:+.2e}", variant["sem_gain"]
        table.add_row(
            NAMES[name],
            f"{variant['mean_delta']:+.3e}",
            _percent(variant["share_negative"]),
            "" if name == "grpo" else gain,
            "" if name == "grpo" or error is None else f"{error:.1e}",
        )
    console.print(table)
    console.print(
        f"NTHR above GRPO in {_percent(summary['nthr_beats_grpo'])}, above Random in "
        f"{_percent(summary['nthr_beats_random'])} of the prompts; "
        f"it eases {_percent(summary['eased_fraction'])} of the tokens of wrong responses."
    )
    for k, overlap in summary["gwhes_overlap"].items():
        if overlap is not None:
            expected = summary["gwhes_overlap_random"][k]
            console.print(
                f"GWHES finds {_percent(overlap)} of the {k} most displaced ({_percent(expected)} at random)."
            )
    if "true_effect" in summary:
        _print_true_effect(summary["true_effect"], console)
    moved = min(variant["weights_moved"] for variant in summary["variants"].values())
    if moved < MOVED_ENOUGH:
        console.print(
            f"[yellow]One of the updates changes only {_percent(moved)} of the weights: the others are below the "
            "weights' precision. Use --dtype float32 or a larger --lr.[/]"
        )


def _print_true_effect(effect: dict[str, Any], console: Console) -> None:
    table = Table(title="Rank correlation with the true first-order effect, tokens of wrong responses")
    for heading in ("NTHR's score", "entropy", "−log π"):
        table.add_column(heading, justify="right")
    values = (effect[name] for name in ("nthr", "entropy", "neg_log_prob"))
    table.add_row(*("–" if value is None else f"{value:+.3f}" for value in values))
    console.print(table)
    console.print(
        f"Punishing truly harms at {_percent(effect['eased_that_harm'])} of the eased tokens, at "
        f"{_percent(effect['wrong_that_harm'])} of all tokens of wrong responses. NTHR reaches "
        f"{_percent(effect['share_of_reachable_gain'])} of the gain of easing as many by the true effect."
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
