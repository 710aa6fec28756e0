"""The page as a file: nothing in it comes from a model's text but text, it loads nothing, and it is whole or not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.families import failures
from tests.heatmap.records import HOSTILE, correct_record, record, write_dump
from verl_nthr.errors import InputError
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.text import printable


class Elements(HTMLParser):
    """Every element with its attributes, and the texts of style and script elements."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:
            self.raw.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """The data of the page's script."""
        return json.loads(self.raw[1])


def page_of(tmp_path: Path, *records: dict[str, Any], title: str = "title") -> str:
    write_heatmap([write_dump(tmp_path / "7.jsonl", *records)], tmp_path / "page.html", title)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_no_element_comes_from_the_text(tmp_path: Path) -> None:
    def page(text: str) -> Elements:
        wrong = record(prompt=text, response=text, tokens=[text, " ", "3"], uid=text)
        return Elements(page_of(tmp_path, wrong, correct_record(prompt=text, uid=text), title=text))

    harmless = page("harmless")

    def check(hostile: str) -> None:
        attacked = page(hostile)
        assert [tag for tag, _ in attacked.found] == [tag for tag, _ in harmless.found]
        assert [set(attributes) for _, attributes in attacked.found] == [set(a) for _, a in harmless.found]
        assert (attacked.raw[0], attacked.raw[2]) == (harmless.raw[0], harmless.raw[2])
        shown = printable(hostile)
        (group,) = attacked.data["steps"][0]["groups"]
        assert (group["prompt"], group["uid"], group["responses"][0]["text"]) == (shown, shown, shown)
        assert attacked.data["vocabulary"]["texts"][0] == shown
        assert all(character.isprintable() or character == "\n" for character in shown)

    assert failures(check, [*HOSTILE, "\ud800\u2028", "x" * 1_000_000]) == []


def test_nothing_is_loaded_and_only_the_pages_own_script_runs(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(), correct_record())
    elements = Elements(page)
    assert {tag for tag, _ in elements.found}.isdisjoint({"link", "img", "iframe", "object", "base"})
    names = {name for _, attributes in elements.found for name in attributes}
    assert names.isdisjoint({"src", "href", "style", "action"})
    assert not any(name.startswith("on") for name in names)
    assert re.findall(r"https?:|//\w+\.|url\(|@import", page) == []
    (policy,) = [attributes["content"] for tag, attributes in elements.found if "http-equiv" in attributes]
    style, _, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in elements.raw)
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", page)


def test_steps_are_in_order_and_numbers_are_strict_json(tmp_path: Path) -> None:
    files = [write_dump(tmp_path / f"{step}.jsonl", record(step=step), correct_record(step=step)) for step in (10, 9)]
    summary = write_heatmap(files, tmp_path / "deep" / "page.html", "title")
    elements = Elements((tmp_path / "deep" / "page.html").read_text(encoding="utf-8"))
    assert [step["step"] for step in elements.data["steps"]] == [9, 10]
    assert [share.step for share in summary.steps] == [9, 10]
    assert "NaN" not in elements.raw[1]


def test_a_broken_dump_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    page_of(tmp_path, record(), correct_record(), title="earlier")
    before = (tmp_path / "page.html").read_text(encoding="utf-8")
    (tmp_path / "8.jsonl").write_text(json.dumps(record(step=8))[:-20], encoding="utf-8")
    with pytest.raises(InputError, match=r"8\.jsonl:1 is no JSON"):
        write_heatmap([tmp_path / "7.jsonl", tmp_path / "8.jsonl"], tmp_path / "page.html", "later")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7.jsonl", "8.jsonl", "page.html"]


def test_a_page_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        page_of(tmp_path, record(), correct_record())
    assert [path.name for path in tmp_path.iterdir()] == ["7.jsonl"]
