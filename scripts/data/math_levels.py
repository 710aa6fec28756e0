"""Prepare MATH for verl: of the training split levels 3 to 5, of the test split all."""

import sys

from preparation.command import prepare
from preparation.sets import MATH

if __name__ == "__main__":
    sys.exit(prepare(__doc__, MATH, levels=(3, 4, 5)))
