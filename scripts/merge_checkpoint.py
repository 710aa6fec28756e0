"""Merge a checkpoint of verl (shards of FSDP or Megatron) into a Hugging Face model, with verl's own merger."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from verl_nthr.errors import InputError
from verl_nthr.evaluation.checkpoints import MERGED, actor_folder, merge_command
from verl_nthr.text import on_one_line, print_error


def main() -> int:
    """Merge; 0 if everything went well, else 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="verl's global_step_N, or the actor in it")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder (default: global_step_N/merged)")
    args = parser.parse_args()
    actor = actor_folder(args.checkpoint)
    out = args.out or (actor.parent if actor.name == "actor" else actor) / MERGED
    try:
        merge(actor, out)
    except (InputError, OSError) as error:
        print_error("merge_checkpoint", error)
        return 1
    print(on_one_line(str(out)))
    return 0


def merge(actor: Path, out: Path) -> None:
    """Run the merger; ``out`` appears when it is whole.

    Raises:
        InputError: there are no shards, ``out`` exists, or the merger failed.
    """
    if out.exists():
        raise InputError(f"OUT: {out} exists; remove it, or pass another folder")
    partial = out.with_name(out.name + ".part")
    command = merge_command(actor, partial)
    if partial.exists():
        shutil.rmtree(partial)
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode != 0:
        raise InputError(f"verl's merger ended with {done.returncode}, its output says why")
    partial.rename(out)


if __name__ == "__main__":
    sys.exit(main())
