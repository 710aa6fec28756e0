"""Terms that are added to a policy loss. Axes: B responses, L tokens of the longest one.

Each function returns the share of one micro-batch, in verl's convention: summing over the micro-batches of a rank and
averaging over the ``dp_size`` data-parallel ranks gives the mean over the mini-batch.
"""
