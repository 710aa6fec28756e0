"""``verl-nthr doctor --config``: can this training command work, and what will it do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verl_nthr.cli.checks import problems_here
from verl_nthr.cli.training_command import TrainingCommand
from verl_nthr.errors import InputError
from verl_nthr.text import printable

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class RunReport:
    """Findings about a training command."""

    overrides: Sequence[str]
    """hydra's overrides, as they were understood."""

    problems: list[str]
    """Every reason why the run cannot work, with the fix."""

    warnings: list[str] = field(default_factory=list)
    """Warnings of verl and of this package about a run that can work."""

    run: dict[str, str] = field(default_factory=dict)
    """Description of the run, by headings; empty if it cannot work."""


def examine_command(command: TrainingCommand) -> RunReport:
    """Compose the configuration of a training command with the installed verl, and check it and the local files."""
    if problems := problems_here():
        return RunReport(command.overrides, problems)
    from verl_nthr.integration.config.composition import compose_run
    from verl_nthr.integration.config.examination import examine_run

    try:
        config = compose_run(command.overrides, command.config_path, command.config_name)
    except InputError as error:
        return RunReport(command.overrides, [str(error)])
    found = examine_run(config)
    return RunReport(command.overrides, found.problems, found.warnings, {} if found.problems else _describe(config))


def print_report(report: RunReport) -> None:
    """Print a report for people."""
    console = Console()
    if report.run:
        table = Table(title="the run", title_justify="left", title_style="bold", show_header=False)
        for heading, text in report.run.items():
            table.add_row(Text(heading), Text(text, overflow="fold"))
        console.print(table)
    for colour, word, texts in (("red", "problem", report.problems), ("yellow", "warning", report.warnings)):
        for text in texts:
            console.print(f"[{colour}]{word}[/{colour}] {escape(printable(text))}", highlight=False, soft_wrap=True)
    verdict = "[red]This run cannot work.[/red]" if report.problems else "[green]This run can start.[/green]"
    console.print(verdict)


def _describe(config: DictConfig) -> dict[str, str]:
    """Describe what a checked configuration asks for, by headings."""
    from verl_nthr.integration.config.nodes import changed_options
    from verl_nthr.integration.config.run import read_run

    run, _ = read_run(config)
    actor, rollout, trainer = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.trainer
    advantage, options, freq = f"{config.algorithm.adv_estimator}: verl's", run.options, run.options.lld_monitor.freq
    if run.estimator is not None:
        weights = f"tokens weighed by {run.weighting}" if run.weighting else "tokens not weighed"
        advantage = f"{config.algorithm.adv_estimator}: base advantage {run.base}, {weights}"
    algorithm, loss = (
        ", ".join(f"{key}={value}" for key, value in changed_options(each)) for each in (options, run.terms)
    )
    return {
        "advantage": advantage,
        "tokens are scored": f"in the old-log-prob pass of the {actor.strategy} engine" if run.is_scored else "nowhere",
        "engine": f"{actor.strategy}, {trainer.nnodes} × {trainer.n_gpus_per_node} devices",
        "trainer": trainer.v1.trainer_mode if trainer.use_v1 else "legacy",
        "batch": f"{config.data.train_batch_size} prompts × {rollout.n} responses, updates on "
        f"{actor.ppo_mini_batch_size} prompts",
        "algorithm": algorithm or "defaults",
        "loss terms": loss or "none",
        "groups dropped": options.filter_groups.drop if run.get("algorithm.filter_groups.enable") else "none",
        "likelihood monitor": f"every {freq} steps" if freq else "off",
    }
