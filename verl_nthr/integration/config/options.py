"""Options of this package below verl's ``algorithm`` node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verl_nthr.advantages import LENS, NGRPO, RULES, SGRPO, AdvantageRule, WReinforce
from verl_nthr.influence.selection import check_beta, check_eta
from verl_nthr.integration.config.estimators import BASES
from verl_nthr.integration.config.nodes import NTHRConfigError, read_options
from verl_nthr.integration.config.numbers import is_number
from verl_nthr.text import quoted
from verl_nthr.weighting import NTHR, THR, WEIGHTINGS, Weighting

HOMOGENEOUS, ALL_CORRECT, ALL_WRONG = "homogeneous", "all_correct", "all_wrong"
REWARD_METRIC, ADVANTAGE_METRIC = "reward", "advantage"
CHOICES: dict[str, tuple[str | None, ...]] = {
    "base": (None, *BASES),
    "weighting": (None, *WEIGHTINGS),
    "vocabulary": ("response", "full"),
    "feature_device": ("auto", "device", "host"),
    "on_nonfinite": ("fallback", "raise"),
    "drop": (HOMOGENEOUS, ALL_CORRECT, ALL_WRONG),
    "loss_denominator": ("kept_tokens", "all_tokens"),
}
"""Allowed names by option."""


@dataclass(frozen=True)
class NTHROptions:
    """The keys below ``algorithm.nthr``.

    Raises:
        ValueError: a bad value, as ``name=value: use ...``; so do the other dataclasses here.
    """

    base: str | None = None
    """Base advantage of an estimator that is named for its weighting; null for GRPO's."""

    weighting: str | None = None
    """Token weighting of an estimator that is named for its base; null for none."""

    beta: float = 1.0
    """β of the threshold τ = β · min s̄⁺; ``-inf`` eases every token of a wrong response in a mixed group. Where
    min s̄⁺ < 0, a larger β eases more."""

    eta: str | float = "balanced"
    """Weight η of an eased token, by the group's success rate p: ``balanced`` = 2·|0.5 − p|, ``p``, ``1-p``, or a
    number in [0, 1]."""

    vocabulary: str = "response"
    """Coordinates of the prediction errors: ``response`` (V*, the ids in the group's responses) or ``full``."""

    anchor_includes_self: bool = True
    """True if an anchor s̄⁺ counts a correct response's influence on itself; the paper is ambiguous."""

    reward_threshold: float = 0.5
    """A response is correct if its ``metric`` is at least this; use 0 for rewards of ±1."""

    metric: str = REWARD_METRIC
    """Decides correctness: ``reward`` is verl's score before any KL penalty; ``advantage`` takes a response for correct
    if its base advantage of that score is above 0, for graded rewards and reward models; any other name is an entry of
    your reward function's dict, such as ``acc``."""

    feature_device: str = "auto"
    """Memory that holds the hidden states until the end of the pass: ``device``, ``host``, or ``auto`` (the device
    unless they would take more than a tenth of its free memory)."""

    token_dump_dir: str | None = None
    """Folder for ``<step>.jsonl`` with the score, weight, log-prob and entropy of every response token; null disables
    the dump."""

    on_nonfinite: str = "fallback"
    """Reaction to a hidden state, log-prob, score, reward or base advantage that is nan or infinite: ``fallback`` sets
    the weights of its prompt group to 1, or its advantages to 0 for the last two; ``raise`` stops the run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_beta(self.beta))
        object.__setattr__(self, "eta", check_eta(self.eta))
        for name in ("base", "weighting", "vocabulary", "feature_device", "on_nonfinite"):
            _check_choice(self, name)
        _check_finite(self, "reward_threshold")
        if not isinstance(self.anchor_includes_self, bool):
            raise ValueError(f"anchor_includes_self={quoted(self.anchor_includes_self)}: use true or false")
        if not isinstance(self.metric, str) or not self.metric:
            raise ValueError(
                f"metric={quoted(self.metric)}: use 'reward', 'advantage' or an entry of the reward's extra info"
            )
        if self.token_dump_dir is not None and not isinstance(self.token_dump_dir, str):
            raise ValueError(f"token_dump_dir={quoted(self.token_dump_dir)}: use a path or null")


@dataclass(frozen=True)
class MonitorOptions:
    """The keys below ``algorithm.lld_monitor``, for every estimator."""

    freq: int = 0
    """Every N steps, re-score the correct responses after the update to see how their likelihood changed; 0
    disables."""

    epsilon: float = 0.0
    """ε of Definition 4.1: a correct response whose log-likelihood rises by less than this counts as lazy."""

    def __post_init__(self) -> None:
        if isinstance(self.freq, bool) or not isinstance(self.freq, int) or self.freq < 0:
            raise ValueError(f"freq={quoted(self.freq)}: use a number of steps, or 0 for never")
        _check_finite(self, "epsilon")


@dataclass(frozen=True)
class FilterOptions:
    """The key that this package adds to verl's ``algorithm.filter_groups``, for every estimator."""

    drop: str = HOMOGENEOUS
    """Groups that verl's filter drops if ``algorithm.filter_groups.enable`` is set: ``homogeneous`` (both kinds, as in
    verl), only ``all_correct`` or only ``all_wrong`` ones."""

    def __post_init__(self) -> None:
        _check_choice(self, "drop")


@dataclass(frozen=True)
class AlgorithmOptions:
    """All options below ``algorithm``; the path of an attribute is the path of its key."""

    nthr: NTHROptions = field(default_factory=NTHROptions)
    """Options that all estimators share."""

    thr: THR = field(default_factory=THR)
    """Options of THR."""

    ngrpo: NGRPO = field(default_factory=NGRPO)
    """Options of NGRPO."""

    w_reinforce: WReinforce = field(default_factory=WReinforce)
    """Options of W-REINFORCE."""

    s_grpo: SGRPO = field(default_factory=SGRPO)
    """Options of S-GRPO."""

    lens: LENS = field(default_factory=LENS)
    """Options of LENS."""

    loss_denominator: str = "kept_tokens"
    """Denominator of the loss of psr, nsr and reinforce_rej: ``kept_tokens`` (with ``loss_agg_mode=seq-mean-...`` the
    kept responses) or ``all_tokens``, as in verl."""

    lld_monitor: MonitorOptions = field(default_factory=MonitorOptions)
    """Options of the likelihood monitor."""

    filter_groups: FilterOptions = field(default_factory=FilterOptions)
    """Options of the group filter."""

    def __post_init__(self) -> None:
        _check_choice(self, "loss_denominator")

    def rule(self, base: str) -> AdvantageRule | None:
        """Build the rule of a base advantage with its options; None for verl's own."""
        return getattr(self, base, RULES[base]()) if base in RULES else None

    def weighting(self, name: str | None) -> Weighting | None:
        """Build a token weighting with its options; None for no weights."""
        if name is None:
            return None
        kind = WEIGHTINGS[name]
        if issubclass(kind, NTHR):
            return kind(self.nthr.eta)
        return self.thr if kind is THR else kind()

    @classmethod
    def from_config(cls, algorithm: Mapping[str, Any]) -> AlgorithmOptions:
        """Read verl's ``algorithm`` node; options that it lacks have their defaults.

        Raises:
            NTHRConfigError: an unknown option or a bad value.
        """
        node = {name: algorithm[name] for name in OWN_KEYS if name in algorithm}
        verls = algorithm.get("filter_groups")
        if isinstance(verls, Mapping) and "drop" in verls:
            node["filter_groups"] = {"drop": verls["drop"]}
        elif verls is not None and not isinstance(verls, Mapping):
            raise NTHRConfigError(
                f"algorithm.filter_groups={quoted(verls)}: give options, such as algorithm.filter_groups.enable=True"
            )
        return read_options(cls, node, "algorithm")


OWN_KEYS = tuple(name for name in AlgorithmOptions.__dataclass_fields__ if name != "filter_groups")
"""Keys below ``algorithm`` that verl does not have."""


def _check_choice(options: object, name: str) -> None:
    value, allowed = getattr(options, name), CHOICES[name]
    if value not in allowed:
        names = ", ".join("null" if choice is None else choice for choice in allowed)
        raise ValueError(f"{name}={quoted(value)}: use one of {names}")


def _check_finite(options: object, name: str) -> None:
    value = getattr(options, name)
    if not is_number(value):
        raise ValueError(f"{name}={quoted(value)}: use a finite number")
