"""Entry point by which verl loads the CPU platform (group ``verl.plugins``).

verl imports this module in every process, on ``import verl``. Unless ``VERL_PLATFORM`` is ``cpu`` it does nothing.
"""

import os

CHOSEN = os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def status() -> dict[str, bool]:
    """Tell of each change that the platform makes whether it is in place here; {} unless the platform was chosen.

    Imports the modules concerned, vLLM's among them, which takes seconds.
    """
    if not CHOSEN:
        return {}
    from verl_nthr.cpu.loading import status as platform_status

    return platform_status()


if CHOSEN:
    from verl_nthr.cpu.loading import load

    load()
