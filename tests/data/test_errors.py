"""Bad input: one line that names the option or file and the way out, exit code 2, and no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from data.preparation.summary import token_counter
from tests.data.commands import SCRIPTS, refused, run, write_jsonl
from tests.data.rows import EVALUATION, TRAINING
from tests.families import failures
from verl_nthr.errors import InputError

BAD_SOURCES: dict[str, tuple[str, str, str]] = {
    "nowhere": ("", "", "none.jsonl does not exist"),
    "type": ("rows.csv", "a,b", "--source and --against take .parquet"),
    "empty": ("rows.jsonl", "\n", "is empty; give another --source"),
    "parquet": ("rows.parquet", "{}", "cannot be read as parquet"),
    "line": ("rows.jsonl", '{"problem": "x", "answer": 1}\n{"a"', "rows.jsonl:2 is no"),
    "no list": ("rows.json", "{}", "an object a line is named .jsonl"),
    "no object": ("rows.jsonl", "[]", "rows.jsonl:1 is no JSON object"),
    "problem": (
        *("rows.jsonl", '{"text": "1", "answer": 1}'),
        "for the problem of deepscaler: it has text, answer; name the one that holds it problem or question",
    ),
    "answer": (
        *("rows.jsonl", '{"problem": "1", "result": 1}'),
        "for the answer of deepscaler: it has problem, result; name the one that holds it answer or Answer",
    ),
    "nothing left": ("rows.jsonl", '{"problem": "1", "answer": ""}', "nothing is left of the 1 rows"),
    "folder": ("a/rows.jsonl", "", "has no train.parquet or train.jsonl or train.json; give a file"),
    "saved": ("a/state.json", "{}", "is not a folder that datasets saved whole"),
}
"""By name a file, its content, and what is said; of a file in a folder, the folder is the source."""


def test_bad_sources(tmp_path: Path) -> None:
    def check(case: str) -> None:
        name, content, complaint = BAD_SOURCES[case]
        source, out = tmp_path / case / (name or "none.jsonl"), tmp_path / case / "out"
        if name:
            source.parent.mkdir(parents=True)
            source.write_text(content, encoding="utf-8")
        given = source.parent if "/" in name else source
        message = refused("deepscaler", "--source", given, "--local_save_dir", out)
        assert message.startswith("deepscaler.py: ")
        assert complaint in message
        assert not out.exists()

    assert failures(check, BAD_SOURCES) == []


def test_no_network(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads the environment once."""
    command = [sys.executable, SCRIPTS / "gsm8k.py", "--local_save_dir", tmp_path / "out"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (finished.returncode, "Traceback" in finished.stderr) == (2, False)
    message = finished.stderr.splitlines()[-1]
    assert "openai/gsm8k (main)" in message
    assert "--source" in message
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_if_one_of_several_sets_is_bad(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "raw" / "aime24.jsonl", EVALUATION["aime24"])
    write_jsonl(tmp_path / "raw" / "aime25.jsonl", [{"text": "1"}])
    sets = ("--source", tmp_path / "raw", "--sets", "aime24,aime25")
    assert "aime25.jsonl has no column" in refused("evaluation", *sets, "--local_save_dir", tmp_path / "out")
    (tmp_path / "raw" / "aime25.jsonl").unlink()
    message = refused("evaluation", *sets, "--local_save_dir", tmp_path / "out")
    assert "has none of aime25, aime25.parquet, aime25.jsonl, aime25.json; put aime25 there" in message
    assert not (tmp_path / "out").exists()


def test_bad_options(tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", TRAINING["deepscaler"])
    words = write_jsonl(tmp_path / "words.jsonl", [{"text": "1"}])
    blank = write_jsonl(tmp_path / "blank.jsonl", [])
    for options, complaint in [
        (("--against", tmp_path / "none"), "--against"),
        (("--against", words), "has a row with no problem"),
        (("--against", blank), "holds no problem"),
        (("--json", tmp_path / "rows.jsonl" / "summary.json"), "cannot be written"),
    ]:
        message = refused("deepscaler", "--source", rows, "--local_save_dir", tmp_path / "out", *options)
        assert complaint in message
        assert str(options[1]) in message
        assert not (tmp_path / "out").exists()
    for options in [("--ngram", "-1"), ("--samples", "0"), ("--template", "gpt-2")]:
        finished = run("deepscaler", "--source", rows, "--local_save_dir", tmp_path / "out", *options)
        assert (finished.returncode, options[0] in finished.stderr) == (2, True)
    finished = run("evaluation", "--sets", "aime24,aime23", "--local_save_dir", tmp_path / "out")
    assert (finished.returncode, "aime23: the sets are aime24, amc23" in finished.stderr) == (2, True)


def test_bad_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--tokenizer {tmp_path} cannot be loaded"):
        token_counter(str(tmp_path))
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    bare.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"--tokenizer {tmp_path} has no chat template"):
        token_counter(str(tmp_path))
