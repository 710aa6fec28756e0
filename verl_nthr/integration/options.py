"""The options of ``algorithm.nthr``."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_nthr.influence.selection import check_beta, check_eta

VOCABULARIES = ("response", "full")
FEATURE_DEVICES = ("auto", "device", "host")
REWARD_METRIC = "reward"
MONITOR_OPTIONS = ("monitor_freq", "monitor_epsilon", "metric", "reward_threshold")


class NTHRConfigError(ValueError):
    """A setting that NTHR cannot run with; the message names the key, the value and the way out."""


@dataclass(frozen=True)
class NTHROptions:
    """Options of NTHR; every field is a key below ``algorithm.nthr``."""

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

    monitor_freq: int = 0
    """Every so many steps, one more log-prob pass over the correct responses after the update; 0 for never."""

    monitor_epsilon: float = 0.0
    """ε of Definition 4.1: a correct response whose log-likelihood rises by less than this counts as lazy."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_beta(self.beta))
        object.__setattr__(self, "eta", check_eta(self.eta))
        if self.vocabulary not in VOCABULARIES:
            raise ValueError(f"vocabulary={self.vocabulary!r}: use one of {', '.join(VOCABULARIES)}")
        if self.feature_device not in FEATURE_DEVICES:
            raise ValueError(f"feature_device={self.feature_device!r}: use one of {', '.join(FEATURE_DEVICES)}")
        if not isinstance(self.anchor_includes_self, bool):
            raise ValueError(f"anchor_includes_self={self.anchor_includes_self!r}: use true or false")
        for name in ("reward_threshold", "monitor_epsilon"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name}={value!r}: use a finite number")
        if isinstance(self.monitor_freq, bool) or not isinstance(self.monitor_freq, int) or self.monitor_freq < 0:
            raise ValueError(f"monitor_freq={self.monitor_freq!r}: use a number of steps, or 0 for never")
        if not isinstance(self.metric, str) or not self.metric:
            raise ValueError(f"metric={self.metric!r}: use 'reward' or the name of an entry of the reward's extra info")
        if self.token_dump_dir is not None and not isinstance(self.token_dump_dir, str):
            raise ValueError(f"token_dump_dir={self.token_dump_dir!r}: use a path or null")

    @property
    def monitor_only(self) -> bool:
        """Whether no option is set but those of the monitor, which serve every estimator."""
        monitor = {name: getattr(self, name) for name in MONITOR_OPTIONS}
        return self == NTHROptions(**monitor)

    @classmethod
    def from_config(cls, algorithm: Mapping[str, Any]) -> NTHROptions:
        """From verl's ``algorithm`` node; without an ``nthr`` entry all options have their defaults.

        Raises:
            NTHRConfigError: an unknown option or a bad value.
        """
        node = algorithm.get("nthr") or {}
        if not isinstance(node, Mapping):
            raise NTHRConfigError(f"algorithm.nthr={node!r}: give options, as algorithm.nthr.beta=1.0")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in node:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean algorithm.nthr.{close[0]}?" if close else f"the options are {', '.join(known)}"
                raise NTHRConfigError(f"algorithm.nthr.{name}={node[name]!r} is no option of NTHR; {hint}")
        try:
            return cls(**{str(name): value for name, value in node.items()})
        except ValueError as error:
            raise NTHRConfigError(f"algorithm.nthr.{error}") from None
