"""Prepare competition sets to evaluate on with verl: a folder with test.parquet for each."""

import sys

from preparation.command import prepare

if __name__ == "__main__":
    sys.exit(prepare(__doc__))
