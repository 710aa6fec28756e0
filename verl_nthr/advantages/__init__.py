"""Rules that turn the rewards of prompt groups into one advantage per response, in pure torch."""

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.lens import LENS
from verl_nthr.advantages.ngrpo import NGRPO
from verl_nthr.advantages.nsr import NSR
from verl_nthr.advantages.psr import PSR
from verl_nthr.advantages.reinforce_rej import ReinforceRej
from verl_nthr.advantages.rule import AdvantageRule
from verl_nthr.advantages.s_grpo import SGRPO
from verl_nthr.advantages.w_reinforce import WReinforce

RULES: dict[str, type[AdvantageRule]] = {
    "ngrpo": NGRPO,
    "psr": PSR,
    "nsr": NSR,
    "w_reinforce": WReinforce,
    "s_grpo": SGRPO,
    "reinforce_rej": ReinforceRej,
    "lens": LENS,
}
"""Rules by their names in ``algorithm.adv_estimator`` and ``algorithm.nthr.base``."""

__all__ = ["RULES", "AdvantageRule", "GroupRewards"]
