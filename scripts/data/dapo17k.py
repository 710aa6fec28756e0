"""Prepare DAPO-17k for verl: each problem once, asked in the template instead of with "Answer:"."""

import sys

from preparation.command import prepare
from preparation.sets import DAPO17K

if __name__ == "__main__":
    sys.exit(prepare(__doc__, DAPO17K))
