"""Prepare competition sets to evaluate on with verl: a folder with test.parquet for each."""

from __future__ import annotations

import sys

from preparation.command import prepare_evaluation

if __name__ == "__main__":
    sys.exit(prepare_evaluation(__doc__))
