"""The door through which verl loads the CPU platform (entry point group ``verl.plugins``).

verl imports this module in every process, on ``import verl``. Unless ``VERL_PLATFORM`` is ``cpu`` it does nothing.
"""

import os

CHOSEN = os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def status() -> dict[str, bool]:
    """Whether each change that the platform makes is in place in this process; empty unless it was chosen.

    Imports the modules concerned, vLLM's among them, which takes seconds.
    """
    if not CHOSEN:
        return {}
    from verl_nthr.cpu.loading import status as platform_status

    return platform_status()


if CHOSEN:
    from verl_nthr.cpu.loading import load

    load()
