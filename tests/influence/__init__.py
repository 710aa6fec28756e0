"""Scores, anchors and weights against double sums in float64, autograd, and groups of ranks."""
