"""What a person can put right."""


class ProbeError(ValueError):
    """The input cannot be probed; the message names what is wrong and the way out."""
