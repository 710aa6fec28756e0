"""Prepare GSM8K for verl: final answers in a box instead of after "####"."""

from __future__ import annotations

import sys

from preparation.command import prepare_training
from preparation.sets import GSM8K

if __name__ == "__main__":
    sys.exit(prepare_training(GSM8K, __doc__))
