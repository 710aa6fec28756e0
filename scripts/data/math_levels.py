"""Prepare MATH for verl: of the training split levels 3 to 5, of the test split all."""

from __future__ import annotations

import sys

from preparation.command import prepare_training
from preparation.sets import MATH

if __name__ == "__main__":
    sys.exit(prepare_training(MATH, __doc__, levels=(3, 4, 5)))
