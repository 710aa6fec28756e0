"""Error of the CPU platform."""


class PlatformError(RuntimeError):
    """A package or variable that the CPU platform relies on is not as it expects."""
