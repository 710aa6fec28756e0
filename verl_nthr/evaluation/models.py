"""Parses MODEL arguments, and checks that prompts fit into the models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from verl_nthr.errors import InputError
from verl_nthr.evaluation.benchmarks import Benchmark
from verl_nthr.evaluation.checkpoints import find_model, weight_files
from verl_nthr.generation.prompts import encode_prompt

ARGUMENT = re.compile(r"(?:(?P<name>[^=/]*)=)?(?P<path>.*?)(?:@(?P<step>\d+))?")
GLOBAL_STEP = re.compile(r"global_step_(\d+)")
NAME = re.compile(r"[\w+-][\w.+-]*")


@dataclass(frozen=True)
class Model:
    """A model, or a checkpoint of one."""

    name: str
    """Checkpoints of one name are one curve."""

    path: str
    """Folder or name on the hub, for transformers and vLLM."""

    step: int | None
    """Of training; None for a model that is not a checkpoint."""

    @property
    def label(self) -> str:
        """Unique in a run, and usable as a folder's name."""
        return self.name if self.step is None else f"{self.name}@{self.step}"

    def weights(self) -> str | None:
        """Size and date of the weights, which change with them; None for a model of the hub."""
        files = weight_files(Path(self.path))
        if not files:
            return None
        size = sum(file.stat().st_size for file in files)
        written = datetime.fromtimestamp(max(file.stat().st_mtime for file in files), timezone.utc)
        return f"{size} bytes of {written.isoformat()}"


def parse_models(arguments: list[str]) -> list[Model]:
    """Models by their arguments ``PATH``, ``NAME=PATH`` or ``NAME=PATH@STEP``.

    Without a step, that of a ``global_step_N`` in the path counts; without a name, that of the folder around the
    ``global_step_N``, or the path's own.

    Raises:
        InputError: a name has other characters than letters, digits and ``_.+-`` or begins with a dot, two models have
            one label, or there is no such model.
    """
    models: dict[str, Model] = {}
    for argument in arguments:
        model = _parse(argument)
        if model.label in models:
            raise InputError(
                f"MODEL: {models[model.label].path} and {model.path} are both called {model.label!r}; name them, as "
                "NAME=PATH or NAME=PATH@STEP"
            )
        models[model.label] = model
    return list(models.values())


def _parse(argument: str) -> Model:
    match = ARGUMENT.fullmatch(argument)
    if match is None or not match["path"]:
        raise InputError(f"MODEL: {argument!r} has no path; pass PATH, NAME=PATH or NAME=PATH@STEP")
    path = match["path"]
    absolute = Path(path).absolute()
    around = next((each for each in (absolute, *absolute.parents) if GLOBAL_STEP.fullmatch(each.name)), None)
    step = match["step"]
    if step is None and around is not None:
        step = around.name.rpartition("_")[2]
    default = absolute.name if around is None else around.parent.name
    name = match["name"] if match["name"] is not None else default
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"MODEL: the name {name!r} may only have letters, digits and _.+-, and no dot first; pass NAME={path}"
        )
    return Model(name, find_model(path), None if step is None else int(step))


def check_lengths(
    model: Model, tokenizer: PreTrainedTokenizerBase, benchmarks: list[Benchmark], max_response_tokens: int
) -> None:
    """Check that every prompt and its response fit into the model's positions.

    Raises:
        InputError: one does not, or the tokenizer has no chat template.
    """
    config = AutoConfig.from_pretrained(model.path, trust_remote_code=False)
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    for benchmark in benchmarks:
        longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in benchmark.prompts)
        if positions is not None and longest + max_response_tokens > positions:
            raise InputError(
                f"--max-response-tokens {max_response_tokens}: with the longest prompt of {benchmark.name} ({longest} "
                f"tokens) that is more than the {positions} positions of {model.path}; pass at most "
                f"{max(0, positions - longest)}"
            )
