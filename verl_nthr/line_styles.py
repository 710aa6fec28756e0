"""Line styles of curves."""

from __future__ import annotations

STYLES = (
    ("#000000", "-", "o"),
    ("#D55E00", "-", "D"),
    ("#56B4E9", "--", "s"),
    ("#009E73", ":", "^"),
    ("#CC79A7", "-.", "v"),
    ("#0072B2", "--", "P"),
)
"""Okabe and Ito's palette with a line style and a marker each, so that curves differ in grey too."""
