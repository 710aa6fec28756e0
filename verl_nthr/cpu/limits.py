"""Time limits of this platform, after which waiting becomes an error.

========================================  =========================================  =======
what waits                                set by                                     seconds
========================================  =========================================  =======
a collective, or a process group to form  ``VERL_CPU_TIMEOUT_SECONDS``               1800
a bucket of weights, or its receipt       ``VERL_CPU_TIMEOUT_SECONDS``               1800
a vLLM engine to start                    ``VLLM_ENGINE_READY_TIMEOUT_S``            600
a vLLM engine to run one batch            ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``     600
a Ray worker group to register            ``trainer.ray_wait_register_center_timeout`` 300
========================================  =========================================  =======

A generation as a whole has no limit: the response length and the batch size bound it.
"""

import os
from datetime import timedelta

from verl_nthr.cpu.errors import PlatformError

TIMEOUT_VARIABLE = "VERL_CPU_TIMEOUT_SECONDS"
DEFAULT_TIMEOUT = timedelta(seconds=1800)


def timeout() -> timedelta:
    """Read the limit for collectives and weight transfers.

    Raises:
        PlatformError: the variable is set, and not to a positive number of seconds.
    """
    text = os.environ.get(TIMEOUT_VARIABLE)
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise PlatformError(f"{TIMEOUT_VARIABLE}={text!r} is not a positive number of seconds")
    return timedelta(seconds=seconds)
