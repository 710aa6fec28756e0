__version__ = "0.1.0.dev0"

SUPPORTED_VERL = ">=0.9,<0.10"
