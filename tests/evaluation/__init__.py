"""Greedy accuracy and Pass@K of models and checkpoints."""
