"""Prepare DeepScaleR (40,315 competition problems) for verl."""

import sys

from preparation.command import prepare
from preparation.sets import DEEPSCALER

if __name__ == "__main__":
    sys.exit(prepare(__doc__, DEEPSCALER))
