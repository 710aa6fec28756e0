"""Prepare GSM8K for verl: final answers in a box instead of after "####"."""

import sys

from preparation.command import prepare
from preparation.sets import GSM8K

if __name__ == "__main__":
    sys.exit(prepare(__doc__, GSM8K))
