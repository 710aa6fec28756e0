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
from verl_nthr.cli.run_config import RunConfigError, check, compose_run, missing_files
from verl_nthr.cli.training_command import TrainingCommand
from verl_nthr.text import printable

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class RunReport:
    """What was found about a training command."""

    overrides: Sequence[str]
    """hydra's overrides, as they were understood."""

    problems: list[str]
    """Why the run cannot work, every reason with its way out."""

    warnings: list[str] = field(default_factory=list)
    """What verl and this package warn of; the run would go on."""

    run: dict[str, str] = field(default_factory=dict)
    """What the run will do, by headings; empty if it cannot work."""


def examine_run(command: TrainingCommand) -> RunReport:
    """Compose the configuration of a training command with the installed verl, and check it and the local files."""
    problems = problems_here()
    if problems:
        return RunReport(command.overrides, problems)
    try:
        config = compose_run(command.overrides, command.config_path, command.config_name)
    except RunConfigError as error:
        return RunReport(command.overrides, [str(error)])
    findings = check(config)
    problems = [*findings.problems, *missing_files(config)]
    return RunReport(command.overrides, problems, findings.warnings, {} if findings.problems else _describe(config))


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
    """What a checked configuration asks for, by headings."""
    from verl_nthr.integration.config.estimators import estimator_of
    from verl_nthr.integration.config.loss_options import LossTerms
    from verl_nthr.integration.config.nodes import changed_options
    from verl_nthr.integration.config.options import AlgorithmOptions

    actor, rollout, trainer = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.trainer
    estimator, options = estimator_of(config), AlgorithmOptions.from_config(config.algorithm)
    terms, group_filter = LossTerms.from_config(actor.policy_loss), config.algorithm.get("filter_groups") or {}
    advantage, scored, freq = f"{config.algorithm.adv_estimator}: verl's", "nowhere", options.lld_monitor.freq
    if estimator is not None:
        weights = f"tokens weighed by {estimator.weighting}" if estimator.weighting else "tokens not weighed"
        advantage = f"{config.algorithm.adv_estimator}: base advantage {estimator.base}, {weights}"
        scored = f"in the old-log-prob pass of the {actor.strategy} engine" if estimator.is_scored else scored
    algorithm, loss = (", ".join(f"{key}={value}" for key, value in changed_options(each)) for each in (options, terms))
    return {
        "advantage": advantage,
        "tokens are scored": scored,
        "engine": f"{actor.strategy}, {trainer.nnodes} × {trainer.n_gpus_per_node} devices",
        "trainer": trainer.v1.trainer_mode if trainer.use_v1 else "legacy",
        "batch": f"{config.data.train_batch_size} prompts × {rollout.n} responses, updates on "
        f"{actor.ppo_mini_batch_size} prompts",
        "algorithm": algorithm or "defaults",
        "loss terms": loss or "none",
        "groups dropped": options.filter_groups.drop if group_filter.get("enable") else "none",
        "likelihood monitor": f"every {freq} steps" if freq else "off",
    }
