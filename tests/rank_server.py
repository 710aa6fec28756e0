"""Imported once by the server from which ranks are forked: they start with verl on the CPU at hand."""

import os

os.environ["VERL_PLATFORM"] = "cpu"

import torch  # noqa: F401
import transformers  # noqa: F401
import verl.workers.engine
import verl.workers.engine_workers  # noqa: F401
