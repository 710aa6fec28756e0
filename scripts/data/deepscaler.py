"""Prepare DeepScaleR (40,315 competition problems) for verl."""

from __future__ import annotations

import sys

from preparation.command import prepare_training
from preparation.sets import DEEPSCALER

if __name__ == "__main__":
    sys.exit(prepare_training(DEEPSCALER, __doc__))
