"""Packaged hydra configuration (``pkg://verl_nthr.config``)."""
