"""The error of the CPU platform."""


class PlatformError(RuntimeError):
    """Something that the CPU platform relies on is not as it was in the versions that it was written for."""
