"""Stock verl (with vLLM and FSDP) on a machine without a GPU.

Set ``VERL_PLATFORM=cpu`` and verl loads the platform by itself, in every process. :func:`environment` and
:func:`overrides` give the settings of such a run; both are cheap to import.
"""

from verl_nthr.cpu.environment import environment
from verl_nthr.cpu.overrides import overrides

__all__ = ["environment", "overrides"]
