"""Trains the demo's toy with several estimators from the same start, and compares what comes out."""
