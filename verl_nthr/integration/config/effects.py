"""What each option of ``algorithm.nthr`` needs to have an effect."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from omegaconf import DictConfig

from verl_nthr.advantages import RULES
from verl_nthr.integration.config.estimators import Estimator
from verl_nthr.integration.config.loss_options import LossTerms
from verl_nthr.integration.config.options import HOMOGENEOUS, NTHROptions
from verl_nthr.weighting import NTHR, THR, WEIGHTINGS, Negative, Weighting


@dataclass(frozen=True)
class Run:
    """What decides whether an option has an effect."""

    config: DictConfig
    """The whole training configuration."""

    estimator: Estimator | None
    """None for one of verl's."""

    options: NTHROptions
    """All of them."""

    terms: LossTerms
    """Terms of the policy loss."""

    @property
    def is_scored(self) -> bool:
        """Whether tokens are scored."""
        return self.estimator is not None and self.estimator.is_scored

    @property
    def is_binary(self) -> bool:
        """Whether the base advantage looks at correctness alone."""
        return self.estimator is not None and self.estimator.base in RULES and RULES[self.estimator.base].binary

    @property
    def drops_rows(self) -> bool:
        """Whether the base advantage takes responses out of the loss."""
        rule = self.options.rule(self.estimator.base) if self.estimator is not None else None
        return rule is not None and rule.drops_rows

    @property
    def counts_correct(self) -> bool:
        """Whether anything asks which responses are correct."""
        is_weighed = self.estimator is not None and self.estimator.weighting is not None
        others = self.options.monitor_freq > 0, self.options.filter_groups != HOMOGENEOUS
        return is_weighed or self.is_binary or any(others) or self.terms.positive_nll_coef > 0

    def weighs_by(self, kind: type[Weighting]) -> bool:
        """Whether the token weighting is of a kind."""
        name = self.estimator.weighting if self.estimator is not None else None
        return name is not None and issubclass(WEIGHTINGS[name], kind)


Need = tuple[str, Callable[[Run], bool]]
"""What an option needs, and whether a run has it."""

OURS: Need = ("an estimator of this package", lambda run: run.estimator is not None)
SCORES: Need = ("a weighting by scores (nthr, random, thr)", lambda run: run.is_scored)
CORRECTNESS: Need = (
    "a token weighting, a base advantage of correctness, the monitor, filter_groups or positive NLL",
    lambda run: run.counts_correct,
)

RULES_WITH_OPTIONS = [field.name for field in dataclasses.fields(NTHROptions) if field.name in RULES]


def _starts_from(run: Run, name: str) -> bool:
    return run.estimator is not None and run.estimator.base == name


NEEDS: dict[str, Need] = {
    "base": OURS,
    "weighting": OURS,
    "beta": SCORES,
    "eta": ("the weighting nthr or random", lambda run: run.weighs_by(NTHR)),
    "vocabulary": SCORES,
    "anchor_includes_self": (
        "a weighting by scores (nthr, random, thr) and a β other than 0 and -inf",
        lambda run: run.is_scored and run.options.beta not in (0.0, -math.inf),
    ),
    "reward_threshold": CORRECTNESS,
    "metric": CORRECTNESS,
    "feature_device": SCORES,
    "token_dump_dir": SCORES,
    "on_nonfinite": OURS,
    "monitor_epsilon": ("monitor_freq above 0", lambda run: run.options.monitor_freq > 0),
    "denominator": (
        "a base advantage that drops responses (psr, nsr, reinforce_rej) and another loss_agg_mode than token-sum",
        lambda run: run.drops_rows and run.config.actor_rollout_ref.actor.loss_agg_mode != "token-sum",
    ),
    "thr": ("the weighting thr", lambda run: run.weighs_by(THR)),
    **{name: (f"the base advantage {name}", partial(_starts_from, name=name)) for name in RULES_WITH_OPTIONS},
    "w_reinforce": (
        "the base advantage w_reinforce and another weighting than negative, which takes its rewards away",
        lambda run: _starts_from(run, "w_reinforce") and not run.weighs_by(Negative),
    ),
}
"""By option; ``monitor_freq`` has an effect in every run, and ``filter_groups`` has a warning of its own."""


def without_effect(config: DictConfig, estimator: Estimator | None, options: NTHROptions) -> Iterator[str]:
    """A warning for every option that is set and has no effect on a run."""
    run = Run(config, estimator, options, _terms(config))
    if estimator is None:
        where = f"adv_estimator={config.algorithm.adv_estimator}"
    else:
        where = f"base={estimator.base}, weighting={estimator.weighting}"
    defaults, chosen = dataclasses.asdict(NTHROptions()), dataclasses.asdict(options)
    for name, (need, is_met) in NEEDS.items():
        if chosen[name] != defaults[name] and not is_met(run):
            yield f"algorithm.nthr.{name}: without effect on {where}: it needs {need}; unset it"


def _terms(config: DictConfig) -> LossTerms:
    try:
        return LossTerms.from_config(config.actor_rollout_ref.actor.policy_loss)
    except ValueError:
        return LossTerms()  # refused by the check of the loss terms
