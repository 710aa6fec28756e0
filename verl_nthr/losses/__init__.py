"""Terms that are added to a policy loss. Axes: B responses, L tokens of the longest one.

Each gives what one micro-batch adds to a mean over a mini-batch, in verl's convention: summed over the micro-batches of
a rank and averaged over the ``dp_size`` data-parallel ranks, it is the term.
"""
