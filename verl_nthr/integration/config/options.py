"""The options of ``algorithm.nthr``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, TypeVar

from verl_nthr.advantages import LENS, NGRPO, RULES, SGRPO, AdvantageRule, WReinforce
from verl_nthr.influence.selection import check_beta, check_eta
from verl_nthr.integration.config.estimators import BASES
from verl_nthr.json_values import is_number
from verl_nthr.text import label, quoted, shortened
from verl_nthr.weighting import NTHR, THR, WEIGHTINGS, Weighting

HOMOGENEOUS, ALL_CORRECT, ALL_WRONG = "homogeneous", "all_correct", "all_wrong"
CHOICES: dict[str, tuple[str | None, ...]] = {
    "base": (None, *BASES),
    "weighting": (None, *WEIGHTINGS),
    "vocabulary": ("response", "full"),
    "feature_device": ("auto", "device", "host"),
    "filter_groups": (HOMOGENEOUS, ALL_CORRECT, ALL_WRONG),
    "denominator": ("kept", "all"),
    "on_nonfinite": ("fallback", "raise"),
}
REWARD_METRIC = "reward"


class NTHRConfigError(ValueError):
    """A setting that NTHR cannot run with; the message names the key, the value and the way out."""


@dataclass(frozen=True)
class NTHROptions:
    """Options of this package's estimators; every field is a key below ``algorithm.nthr``."""

    base: str | None = None
    """Base advantage of an estimator that is named for its weighting; null for GRPO's."""

    weighting: str | None = None
    """Token weighting of an estimator that is named for its base; null for none."""

    beta: float = 1.0
    """β of the threshold τ = β · min s̄⁺; ``-inf`` selects every token of a wrong answer in a mixed group."""

    eta: str | float = "balanced"
    """Factor of a selected token's advantage: ``balanced`` = 2·|0.5 − p|, ``p``, ``1-p``, or a number in [0, 1]."""

    vocabulary: str = "response"
    """Coordinates of the prediction errors: ``response`` (the group's own token ids) or ``full``."""

    anchor_includes_self: bool = True
    """Whether s̄⁺ counts the influence of a correct response on itself."""

    reward_threshold: float = 0.5
    """A response is correct if its ``metric`` is at least this."""

    metric: str = REWARD_METRIC
    """``reward`` is verl's unshaped score; any other name is an entry of the reward's extra info, as ``acc``."""

    feature_device: str = "auto"
    """Where hidden states wait for the end of the pass: ``device``, ``host``, or ``auto``, which is the device unless
    they would take more than a tenth of its free memory."""

    token_dump_dir: str | None = None
    """Folder for ``<step>.jsonl`` with score, weight, log-prob and entropy of every response token; null for none."""

    filter_groups: str = HOMOGENEOUS
    """Which groups verl's filter drops, where ``algorithm.filter_groups.enable`` switches it on: ``homogeneous`` is
    verl's, ``all_correct`` keeps those that are all wrong, ``all_wrong`` those that are all correct."""

    monitor_freq: int = 0
    """Every so many steps, one more log-prob pass over the correct responses after the update; 0 for never."""

    monitor_epsilon: float = 0.0
    """ε of Definition 4.1: a correct response whose log-likelihood rises by less than this counts as lazy."""

    denominator: str = "kept"
    """Tokens or responses by which the loss of psr, nsr and reinforce_rej is divided: ``kept`` ones, or ``all``."""

    on_nonfinite: str = "fallback"
    """What follows if a hidden state, log-prob, score, reward or base advantage is nan or infinite: ``fallback`` leaves
    the prompt group without weights, or without advantages if one of the last two is at fault; ``raise`` stops."""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_beta(self.beta))
        object.__setattr__(self, "eta", check_eta(self.eta))
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                names = ", ".join("null" if choice is None else choice for choice in allowed)
                raise ValueError(f"{name}={quoted(value)}: use one of {names}")
        if not isinstance(self.anchor_includes_self, bool):
            raise ValueError(f"anchor_includes_self={quoted(self.anchor_includes_self)}: use true or false")
        for name in ("reward_threshold", "monitor_epsilon"):
            value = getattr(self, name)
            if not is_number(value):
                raise ValueError(f"{name}={quoted(value)}: use a finite number")
        if isinstance(self.monitor_freq, bool) or not isinstance(self.monitor_freq, int) or self.monitor_freq < 0:
            raise ValueError(f"monitor_freq={quoted(self.monitor_freq)}: use a number of steps, or 0 for never")
        if not isinstance(self.metric, str) or not self.metric:
            raise ValueError(
                f"metric={quoted(self.metric)}: use 'reward' or the name of an entry of the reward's extra info"
            )
        if self.token_dump_dir is not None and not isinstance(self.token_dump_dir, str):
            raise ValueError(f"token_dump_dir={quoted(self.token_dump_dir)}: use a path or null")

    def rule(self, base: str) -> AdvantageRule | None:
        """The rule of a base advantage with its options; None for verl's own."""
        return getattr(self, base, RULES[base]()) if base in RULES else None

    def weighting_rule(self, name: str | None) -> Weighting | None:
        """The token weighting of a name with its options; None for no weights."""
        if name is None:
            return None
        kind = WEIGHTINGS[name]
        if issubclass(kind, NTHR):
            return kind(self.eta)
        return self.thr if kind is THR else kind()

    @classmethod
    def from_config(cls, algorithm: Mapping[str, Any]) -> NTHROptions:
        """From verl's ``algorithm`` node; without an ``nthr`` entry all options have their defaults.

        Raises:
            NTHRConfigError: an unknown option or a bad value.
        """
        node = algorithm.get("nthr")
        return cls() if node is None else _from_node(cls, node, "algorithm.nthr")


Options = TypeVar("Options")


def _from_node(cls: type[Options], node: Any, path: str) -> Options:
    fields = {known.name: known for known in dataclasses.fields(cls)}
    if not isinstance(node, Mapping):
        name, default = next((name, known.default) for name, known in fields.items() if known.default is not None)
        raise NTHRConfigError(f"{path}={quoted(node)}: give options, as {path}.{name}={default}")
    values = {}
    for name, value in node.items():
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {path}.{close[0]}?" if close else f"the options are {', '.join(fields)}"
            raise NTHRConfigError(f"{path}.{label(str(name))}={quoted(value)} is no option; {hint}")
        kind = fields[name].default_factory
        values[name] = _from_node(kind, value, f"{path}.{name}") if is_dataclass(kind) else value
    try:
        return cls(**values)
    except ValueError as error:
        raise NTHRConfigError(shortened(f"{path}.{error}", 1000)) from None
