"""Prepare DAPO-17k for verl: each problem once, asked in the template instead of with "Answer:"."""

from __future__ import annotations

import sys

from preparation.command import prepare_training
from preparation.sets import DAPO17K

if __name__ == "__main__":
    sys.exit(prepare_training(DAPO17K, __doc__))
