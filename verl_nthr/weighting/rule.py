"""The interface of token weightings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from verl_nthr.weighting.inputs import WeightingInputs


class Weighting(ABC):
    """A rule that multiplies the base advantage of every token by a weight.

    Attributes:
        effect: what it does to the tokens that it singles out, "eased", "kept" or "zeroed".
        is_scored: whether it reads influence scores, which the old-log-prob pass then records.
        length_normalised: whether M⁺ of those scores takes every correct response by 1/|y|.
    """

    effect: ClassVar[str]
    is_scored: ClassVar[bool] = False
    length_normalised: ClassVar[bool] = False

    @abstractmethod
    def selected(self, inputs: WeightingInputs) -> Tensor:
        """Tokens that the rule singles out: [R, L] bool."""

    @abstractmethod
    def candidates(self, inputs: WeightingInputs) -> Tensor:
        """Tokens among which it chooses: [R, L] bool."""

    @abstractmethod
    def weights(self, inputs: WeightingInputs) -> Tensor:
        """Factor of every token's advantage: [R, L] float32, 1 where the rule has nothing to say."""
