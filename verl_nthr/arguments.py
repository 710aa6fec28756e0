"""Argument types: each takes the text and raises what argparse turns into a message and exit code 2."""

from __future__ import annotations

import argparse


def positive_int(text: str) -> int:
    """An integer from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def seed(text: str) -> int:
    """An integer that numpy and torch take as a seed."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2**32 - 1")
    return number


def positive_float(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
